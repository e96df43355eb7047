"""The resolved configuration of a run: frozen sections, TOML presets, `--set section.field=value`.

Defaults are the paper's (Table 8) unless a comment says otherwise; a preset `presets/<scale>.toml`
names only what differs. Unknown fields and wrong types are errors that name the nearest field.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

SCALES = ("nano", "0.8B", "2B", "4B", "9B")
LAYOUTS = ("one-gpu", "lora-24gb", "eight-gpus", "eight-nodes")
Norm = Literal["nonzero", "all", "none", "grpo"]


@dataclass(frozen=True)
class RunConfig:
    method: str = "zppo"
    seed: int = 0
    rollout_steps: int = 200  # 0: as many as one pass over the corpus gives
    steps_per_task: int = 20  # rollout steps in one `epoch` task; engines stay alive between them


@dataclass(frozen=True)
class DataConfig:
    source: str = "zppo77k"  # "digits", "zppo77k", or a path / S3 prefix / hub id
    train_questions: int = 0  # digits only: how many to compose; 0 elsewhere means all
    # where the 77K corpus is built, and its two sources: hub ids, or folders laid out like them
    corpus: str = "data/zppo77k"
    vero: str = "zlab-princeton/Vero-600k"
    mmfine: str = "OpenDataArena/MMFineReason-SFT-586K-Qwen3-VL-235B-Thinking"
    # which rows are drawn where a sub-dataset has more than its cap; run.seed only orders them, so
    # that runs of any seed share one corpus
    seed: int = 0
    reserve: float = 1.25  # candidates kept over the cap, to take the places of duplicates
    drop_duplicates: bool = True  # of nearly the same picture and text, and the same gold answer
    # questions that stand in the evaluation suite too: counted anyway; the paper keeps them
    drop_overlap: bool = False
    more_configs: str = ""  # further Vero configs with their tiers, as "ecd_vqa=2,reachqa=2"
    max_prompt_tokens: int = 4096  # enforced when the corpus is built, never by truncation
    # questions' pictures are scaled into these bounds when the corpus is made; the paper names none
    # for training (evaluation: 262_144 to 1_310_720). 0: as they are, up to the processor's own
    min_pixels: int = 0
    max_pixels: int = 0
    # a table of one's own: columns of question, answer, images, and optionally id and category, as
    # "question=prompt,answer=solution,image=picture"; see docs/customise.md
    columns: str = ""
    # the layout of such a table: columns, verl, trl, easyr1, ms-swift or llama-factory; guessed
    # from its columns if empty
    format: str = ""
    reward: str = ""  # "package.module:function" in place of the rule of section 6
    prompts: str = ""  # a folder whose *.jinja files replace ours of the same names


@dataclass(frozen=True)
class StudentConfig:
    model: str = ""  # a Hugging Face folder or id; "nano:student" is the shipped one
    thinking: bool = True
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


@dataclass(frozen=True)
class TeacherConfig:
    model: str = "Qwen/Qwen3.5-27B-FP8"
    more_models: str = ""  # further teachers, separated by commas (method zppo_teachers)
    # an OpenAI-compatible address, http://host:port/v1, that serves `model` to this machine
    endpoint: str = ""
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the endpoint's key
    concurrency: int = 64  # requests at once to the endpoint
    thinking: bool = True
    rollouts: int = 4  # G_T
    # "augmented" draws only for questions that can still enter under the cap; "hard" for all of
    # X_hard as the paper does. Both give the same training prompts (method, section 2).
    scope: Literal["augmented", "hard"] = "augmented"
    prefill: float = 0.0  # share of the corpus whose visit-0 draws `cache_teacher` makes beforehand


@dataclass(frozen=True)
class RolloutConfig:
    group_size: int = 8  # G_S
    new_prompts: int = 384  # per rollout step; the paper's I x 96
    max_tokens: int = 12288  # per response
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class ReplayConfig:
    ratio: float = 0.25  # rho_replay: replayed prompts / new prompts
    capacity: int = 10_000
    threshold: float = 0.5  # tau: hard iff accuracy < tau, graduates iff accuracy >= tau
    refresh: bool = False  # AMBIGUOUS in the paper: move a question that stays hard to the back


@dataclass(frozen=True)
class ReformulationConfig:
    ratio: float = 0.25  # rho_aug: cap on BCQ + NCQ instances / new prompts
    candidate_tokens: int = 512  # compression cap per candidate
    compression: Literal["teacher", "extract"] = "teacher"
    # the wrong candidate of a BCQ: drawn from the wrong rollouts with a boxed answer if there are
    # any, for form would tell else (decision 0003), or from all of them, as the paper draws it
    wrong: Literal["boxed", "any"] = "boxed"
    retries: int = 1  # compressions retried before the deterministic extract
    prefix_share: float = 0.4  # share of a teacher rollout that the prefix method forces


@dataclass(frozen=True)
class AdvantageConfig:
    norm: Norm = "nonzero"
    eps: float = 1e-6
    scope: Literal["rollout", "minibatch"] = "rollout"  # AMBIGUOUS in the paper


@dataclass(frozen=True)
class LossConfig:
    clip_low: float = 0.20
    clip_high: float = 0.28
    dual_clip: float = 10.0
    # truncated importance sampling against the sampler's log-probabilities; 0 switches it off
    importance_cap: float = 0.0


@dataclass(frozen=True)
class OptimizerConfig:
    lr: float = 1e-6  # constant: no warm-up, no decay
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    moments: Literal["float32", "bfloat16"] = "float32"  # AdamW's; the paper's are bfloat16
    updates: int = 4  # I: gradient updates per rollout step, each token used once


@dataclass(frozen=True)
class TrainerConfig:
    mode: Literal["auto", "shared_prefix", "padded", "packed"] = "auto"
    token_budget: int = 32_768  # padded tokens in one micro-batch
    checkpointing: bool = True
    train_vision: bool = True
    # rank of low-rank adapters, which alone learn then; 0: every weight learns
    lora_rank: int = 0
    lora_alpha: int = 32
    # largest mean |log-prob of sampler - of trainer| tolerated at the first step of a run (nats)
    max_mismatch: float = 0.05


@dataclass(frozen=True)
class EvaluationConfig:
    suite: str = "paper31"
    limit: int = 0  # samples per benchmark; 0: all
    source: str = ""  # folder with copies of the data sets under their hub ids; empty: the hub
    settings: str = ""  # "frames=16;totals=DynaM=pooled": fields of eval/settings.py
    # who judges: empty: the teacher; a folder, hub id or address like http://host:8000/v1#name;
    # none: nobody, so that rules decide alone and benchmarks with a judge have no score
    judge: str = ""
    shard: int = 2000  # samples of a large benchmark that one task takes
    max_tokens: int = 12288
    context: int = 262_144  # tokens of prompt and response, at most what the model takes; for vLLM
    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 20
    min_p: float = 0.0
    presence_penalty: float = 1.5
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class StoreConfig:
    root: str = "runs"  # a folder or s3://bucket/prefix
    cache: str = ""  # teacher draws shared by runs; empty: <root>/teacher_cache
    database: str = "results/zppo.duckdb"
    checkpoint_every: int = 5  # rollout steps between checkpoints; journals cover those between
    keep_checkpoints: int = 2


@dataclass(frozen=True)
class ComputeConfig:
    engine: str = "vllm"  # hf, vllm, or "package.module:NAME" of one's own
    device: Literal["cpu", "cuda"] = "cuda"
    student_gpus: int = 6
    teacher_gpus: int = 2
    # GPUs that one engine of the teacher is split over: 0 all of teacher_gpus, 1 an engine on each
    teacher_tensor_parallel: int = 0
    engine_memory: float = 0.4  # share of a GPU that a vLLM engine beside the trainer takes
    # processes on each node that share the update by DeepSpeed; 0: one a student GPU, and this
    # process alone where there is no second GPU
    update_processes: int = 0
    zero_stage: int = 2  # 1 shares the optimizer, 2 gradients too, 3 weights too
    offload: bool = False  # optimizer in main memory
    update_hosts: int = 1  # nodes that sample and update together; several meet at `rendezvous`
    rendezvous: str = ""  # host:port of this node, as the others see it; auto: flows/hosts_flow.py
    # slices of a phase; 1: one role after the other. While the student samples a slice the teacher,
    # on GPUs of its own, judges the one before, draws for it (if teacher.scope = "hard") and
    # compresses for the next
    overlap: int = 1
    cpus: int = 64
    memory_mb: int = 1_000_000
    threads: int = 0  # torch threads; 0: as many as there are cores


@dataclass(frozen=True)
class Config:
    """A whole run. `scale` names the preset it came from."""

    scale: str = "nano"
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
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Canonical JSON: the run's artifact and its row in the database."""
        return json.dumps(self.to_dict(), sort_keys=True)
