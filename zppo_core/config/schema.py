"""The resolved configuration of a run: frozen sections, each field with its range beside it.

Defaults are the paper's (Table 8) unless a comment says otherwise; a preset `presets/<scale>.toml`
names only what differs. pydantic checks what is read (`zppo_core.config.reading`); rules over
several fields are in `zppo_core.config.rules`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field

from zppo_core.config.fields import (
    MOST,
    Address,
    Betas,
    Cache,
    Columns,
    Count,
    File,
    Filled,
    Float,
    Format,
    Int,
    MethodName,
    Model,
    Names,
    NotNegative,
    One,
    PartShare,
    Positive,
    Root,
    Seed,
    SettingsTable,
    Share,
    Suite,
    Text,
    Tiers,
    Tokens,
    Trackers,
    Whole,
)
from zppo_core.config.methods import Method, find_method
from zppo_core.config.reading import stored

CPU_SCALES = ("nano", "zone", "zone-small")  # worlds of ours: no GPU and no layout
GPU_SCALES = ("0.8B", "2B", "4B", "9B")
SCALES = (*CPU_SCALES, *GPU_SCALES)
LAYOUTS = ("one-gpu", "lora-24gb", "eight-gpus", "eight-nodes")
Norm = Literal["nonzero", "all", "none", "grpo"]
T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def section(cls: type[T]) -> type[T]:
    """A frozen dataclass of which pydantic takes no field that it has not."""
    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return dataclass(frozen=True)(cls)


@section
class RunConfig:
    method: MethodName = "zppo"
    seed: Seed = 0
    # 0: as many as one pass over the corpus gives
    rollout_steps: Annotated[Int, Field(ge=0, le=999_999)] = 200
    steps_per_task: Count = 20  # rollout steps in one `epoch` task; engines stay alive between them
    # who hears of each step's metrics besides metrics.jsonl: trackio, wandb, tensorboard, mlflow
    trackers: Trackers = ()


@section
class DataConfig:
    source: Filled = "zppo77k"  # "digits", "zone", "zppo77k", or a path / S3 prefix / hub id
    train_questions: Whole = 0  # digits and zone: how many to compose; 0 elsewhere means all
    # where the 77K corpus is built, and its two sources: hub ids, or folders laid out like them
    corpus: Text = "data/zppo77k"
    vero: Text = "zlab-princeton/Vero-600k"
    mmfine: Text = "OpenDataArena/MMFineReason-SFT-586K-Qwen3-VL-235B-Thinking"
    # which rows are drawn where a sub-dataset has more than its cap; run.seed only orders them, so
    # that runs of any seed share one corpus
    seed: Seed = 0
    # candidates kept over the cap, to take the places of duplicates; 1 is the cap itself
    reserve: Annotated[Float, Field(ge=1)] = 1.25
    drop_duplicates: bool = True  # of nearly the same picture and text, and the same gold answer
    # questions that stand in the evaluation suite too: counted anyway; the paper keeps them
    drop_overlap: bool = False
    # further Vero configs with their tiers: {ecd_vqa = 2, reachqa = 2}
    more_configs: Tiers = field(default_factory=dict)
    max_prompt_tokens: Tokens = 4096  # enforced when the corpus is built, never by truncation
    # questions' pictures are scaled into these bounds when the corpus is made; the paper names none
    # for training (evaluation: 262_144 to 1_310_720). 0: as they are, up to the processor's own
    min_pixels: Whole = 0
    max_pixels: Whole = 0
    # a table of one's own: its columns of question, answer, images, and optionally id and category:
    # {question = "prompt", answer = "solution", image = "picture"}; see docs/customise.md
    columns: Columns = field(default_factory=dict)
    # the layout of such a table: columns, verl, trl, easyr1, ms-swift or llama-factory; guessed
    # from its columns if empty
    format: Format = ""
    reward: Text = ""  # "package.module:function" in place of the rule of section 6
    prompts: Text = ""  # a folder whose *.jinja files replace ours of the same names


@section
class StudentConfig:
    model: Model = ""  # a Hugging Face folder or id; "nano:student" is the shipped one
    thinking: bool = True
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


@section
class TeacherConfig:
    model: Model = "Qwen/Qwen3.5-27B-FP8"
    more_models: Names = ()  # further teachers (method zppo_teachers)
    # an OpenAI-compatible address, http://host:port/v1, that serves `model` to this machine
    endpoint: Address = ""
    api_key_env: Text = "OPENAI_API_KEY"  # the environment variable that holds the endpoint's key
    concurrency: Count = 64  # requests at once to the endpoint
    thinking: bool = True
    rollouts: Count = 4  # G_T
    # "augmented" draws only for questions that can still enter under the cap, and for some on a
    # guess where the teacher's engine takes requests while others are at work; "hard" for all of
    # X_hard as the paper does. Both give the same training prompts (method, section 2).
    scope: Literal["augmented", "hard"] = "augmented"
    prefill: Share = 0.0  # share of the corpus whose visit-0 draws `cache_teacher` makes beforehand


@section
class RolloutConfig:
    # G_S; a group is its own baseline, so it has at least two
    group_size: Annotated[Int, Field(ge=2, le=MOST)] = 8
    new_prompts: Count = 384  # per rollout step; the paper's I x 96
    max_tokens: Tokens = 12288  # per response
    temperature: One = 1.0
    top_p: One = 1.0


@section
class ReplayConfig:
    ratio: NotNegative = 0.25  # rho_replay: replayed prompts / new prompts
    capacity: Whole = 10_000
    # tau: hard iff accuracy < tau, graduates iff accuracy >= tau
    threshold: Annotated[Float, Field(gt=0, le=1)] = 0.5
    refresh: bool = False  # a question that stays hard goes to the back; the paper leaves it open


@section
class ReformulationConfig:
    ratio: NotNegative = 0.25  # rho_aug: cap on BCQ + NCQ instances / new prompts
    candidate_tokens: Tokens = 512  # compression cap per candidate
    compression: Literal["teacher", "extract"] = "teacher"
    # the wrong candidate of a BCQ: drawn from the wrong rollouts with a boxed answer if there are
    # any, for form would tell else (decision 0003), or from all of them, as the paper draws it
    wrong: Literal["boxed", "any"] = "boxed"
    retries: Whole = 1  # compressions retried before the deterministic extract
    prefix_share: PartShare = 0.4  # share of a teacher rollout that the prefix method forces


@section
class AdvantageConfig:
    norm: Norm = "nonzero"
    eps: Positive = 1e-6
    scope: Literal["rollout", "minibatch"] = "rollout"  # the paper leaves it open


@section
class LossConfig:
    clip_low: Annotated[Float, Field(gt=0, lt=1)] = 0.20
    clip_high: Positive = 0.28
    dual_clip: Annotated[Float, Field(gt=1)] = 10.0
    # truncated importance sampling against the sampler's log-probabilities; 0 switches it off
    importance_cap: NotNegative = 0.0


@section
class OptimizerConfig:
    lr: Annotated[Float, Field(gt=0, le=1)] = 1e-6  # constant: no warm-up, no decay
    betas: Betas = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.1
    max_grad_norm: NotNegative = 1.0  # 0 is off
    moments: Literal["float32", "bfloat16"] = "float32"  # AdamW's; the paper's are bfloat16
    updates: Count = 4  # I: gradient updates per rollout step, each token used once


@section
class TrainerConfig:
    mode: Literal["auto", "shared_prefix", "padded", "packed"] = "auto"
    token_budget: Count = 32_768  # padded tokens in one micro-batch
    checkpointing: bool = True
    train_vision: bool = True
    # rank of low-rank adapters, which alone learn then; 0: every weight learns
    lora_rank: Annotated[Int, Field(ge=0, le=4096)] = 0
    lora_alpha: Count = 32
    # largest mean |log-prob of sampler - of trainer| tolerated at the first step of a run (nats)
    max_mismatch: Positive = 0.05


@section
class EvaluationConfig:
    suite: Suite = "paper31"  # a suite, or a list of suites and benchmarks
    limit: Whole = 0  # samples per benchmark; 0: all
    source: Text = ""  # folder with copies of the data sets under their hub ids; empty: the hub
    # fields of eval/settings.py: {frames = 16, totals = {DynaM = "pooled"}}
    settings: SettingsTable = field(default_factory=dict)
    # who judges: empty: the teacher; a folder, hub id or address like http://host:8000/v1#name;
    # none: nobody, so that rules decide alone and benchmarks with a judge have no score
    judge: Model = ""
    shard: Count = 2000  # samples of a part of a large benchmark
    # tasks that share the suite, each on a node of its own, where every engine starts once; 0: one
    # for each benchmark or part
    tasks: Whole = 1
    max_tokens: Tokens = 12288
    # tokens of prompt and response, at most what the model takes; for vLLM
    context: Annotated[Int, Field(ge=1, le=2**24)] = 262_144
    temperature: NotNegative = 0.6  # 0 is greedy
    top_p: Annotated[Float, Field(gt=0, le=1)] = 0.95
    top_k: Whole = 20  # 0 is off
    min_p: Annotated[Float, Field(ge=0, le=1)] = 0.0
    presence_penalty: Annotated[Float, Field(ge=-2, le=2)] = 1.5
    repetition_penalty: Positive = 1.0


@section
class StoreConfig:
    root: Root = "runs"  # a folder or s3://bucket/prefix
    cache: Cache = ""  # teacher draws shared by runs; empty: <root>/teacher_cache
    database: File = "results/zppo.duckdb"
    checkpoint_every: Count = 5  # rollout steps between checkpoints; journals cover those between
    keep_checkpoints: Count = 2


@section
class ComputeConfig:
    engine: Text = "vllm"  # hf, vllm, or "package.module:NAME" of one's own
    device: Literal["cpu", "cuda"] = "cuda"
    student_gpus: Whole = 6
    teacher_gpus: Whole = 2
    # GPUs that one engine of the teacher is split over: 0 all of teacher_gpus, 1 an engine on each
    teacher_tensor_parallel: Whole = 0
    engine_memory: PartShare = 0.4  # share of a GPU that a vLLM engine beside the trainer takes
    # processes on each node that share the update by DeepSpeed; 0: one a student GPU, and this
    # process alone where there is no second GPU
    update_processes: Whole = 0
    zero_stage: Annotated[Int, Field(ge=1, le=3)] = (
        2  # 1 shares the optimizer, 2 gradients too, 3 weights too
    )
    offload: bool = False  # optimizer in main memory
    update_hosts: Count = 1  # nodes of `ray` that sample and update together
    # the Ray that several processes run on: host:port of its head, auto for the one of this
    # machine; empty: one that the step starts, on the loopback address
    ray: Text = ""
    # 1: the next step's plain rollouts are sampled by the weights of before this one's update, and
    # meanwhile where ranks and engines share no GPU; a deviation from the paper (docs/methods.md)
    staleness: Annotated[Int, Field(ge=0, le=1)] = 0
    cpus: Count = 64
    memory_mb: Count = 1_000_000
    threads: Whole = 0  # torch threads; 0: as many as there are cores
    # processes of one thread that share rollouts and update on a CPU without Ray; any number from 1
    # on gives the same weights, 1 being the step's own. 0: the step's own process with its threads
    workers: Annotated[Int, Field(ge=0, le=256)] = 0
    # seconds that an engine may give nothing back before the step ends; 0: any time. An endpoint's
    # own retries take three hours at most
    patience: NotNegative = 14_400.0


@section
class Config:
    """A whole run. `scale` names the preset it came from."""

    scale: Text = "nano"
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    reformulation: ReformulationConfig = field(default_factory=ReformulationConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as they are stored; `zppo_core.config.from_dict` reads them."""
        return stored(self)

    def to_json(self) -> str:
        """Canonical JSON: the run's artifact and its row in the database."""
        return json.dumps(self.to_dict(), sort_keys=True)


def node_ranks(config: Config) -> int:
    """Processes of a node that share the update."""
    c = config.compute
    return c.update_processes or (max(c.student_gpus, 1) if c.device == "cuda" else 1)


def has_ranks(config: Config) -> bool:
    """Whether ranks of DeepSpeed update, rather than the step's own process."""
    c = config.compute
    return node_ranks(config) > 1 or c.update_hosts > 1 or c.offload or c.ray != ""


def workers_asked(config: Config) -> int:
    """The `compute.workers` of a run whose one process works on a CPU; 0 for any other."""
    c = config.compute
    return c.workers if c.device == "cpu" and not has_ranks(config) else 0


def method_of(config: Config) -> Method:
    """The method of a run."""
    return find_method(config.run.method)
