"""Presets, overrides, and errors that name the remedy."""

import dataclasses
import json
import re
import tomllib
from importlib import resources

import pytest

from zppo_core import config
from zppo_core.config import LAYOUTS, from_dict, load
from zppo_core.config.load import Source, from_record
from zppo_core.config.overrides import resolve
from zppo_core.config.schema import workers_asked
from zppo_core.errors import UserError
from zppo_core.models import memory
from zppo_core.protocols import Sampling
from zppo_core.rewards.judge import GREEDY


def test_override_types():
    c = config.load(
        "nano",
        [
            "optimizer.lr=1e-4",
            "optimizer.betas=0.8,0.9",
            "replay.refresh=true",
            "rollout.new_prompts=7",
            "run.method=grpo",
        ],
    )
    assert (c.optimizer.lr, c.optimizer.betas, c.replay.refresh) == (1e-4, (0.8, 0.9), True)
    assert (c.rollout.new_prompts, c.run.method, c.scale) == (7, "grpo", "nano")


# the paper's Table 8, by the names of ours
TABLE_8 = {
    "rollout.group_size": 8,  # G_S
    "teacher.rollouts": 4,  # G_T
    "replay.threshold": 0.5,  # tau
    "replay.ratio": 0.25,  # rho_replay
    "reformulation.ratio": 0.25,  # rho_aug
    "replay.capacity": 10_000,
    "optimizer.updates": 4,  # I
    "loss.clip_low": 0.20,
    "loss.clip_high": 0.28,
    "loss.dual_clip": 10.0,
    "rollout.new_prompts": 384,  # I x 96
    "run.rollout_steps": 200,
    "optimizer.lr": 1e-6,
    "optimizer.betas": (0.9, 0.999),
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0.1,
    "optimizer.max_grad_norm": 1.0,
    "rollout.temperature": 1.0,
    "rollout.top_p": 1.0,
    "data.max_prompt_tokens": 4096,
    "rollout.max_tokens": 12_288,
    "reformulation.candidate_tokens": 512,
    "reformulation.compression": "teacher",
    "student.dtype": "bfloat16",
    "student.thinking": True,
    "teacher.thinking": True,
    "teacher.model": "Qwen/Qwen3.5-27B-FP8",
    "compute.student_gpus": 6,
    "compute.teacher_gpus": 2,
    "advantage.norm": "nonzero",
    "run.method": "zppo",
    "data.source": "zppo77k",
}
# where the paper is silent, and what it has not: our defaults of method.md
SILENT = {
    "advantage.scope": "rollout",
    "advantage.eps": 1e-6,
    "replay.refresh": False,
    "reformulation.prefix_share": 0.4,
    "reformulation.wrong": "boxed",
    "reformulation.retries": 1,
    "loss.importance_cap": 0.0,
    "compute.staleness": 0,
    "compute.patience": 14_400.0,
    "trainer.lora_rank": 0,
    "trainer.train_vision": True,
    "trainer.max_mismatch": 0.05,
    "data.drop_duplicates": True,
    "data.drop_overlap": False,
    "teacher.scope": "augmented",
    "run.seed": 0,
}
# section 9: the evaluation's decoding
SECTION_9 = {
    "evaluation.temperature": 0.6,
    "evaluation.top_p": 0.95,
    "evaluation.top_k": 20,
    "evaluation.min_p": 0.0,
    "evaluation.presence_penalty": 1.5,
    "evaluation.repetition_penalty": 1.0,
    "evaluation.max_tokens": 12_288,
    "evaluation.context": 262_144,
    "evaluation.suite": "paper31",
    "evaluation.tasks": 1,
    "evaluation.limit": 0,
    "evaluation.settings": {},
    "evaluation.judge": "",  # the teacher
}
PAPER = TABLE_8 | SILENT | SECTION_9


def value_of(c: config.Config, name: str):
    section, _, field = name.partition(".")
    return getattr(getattr(c, section), field)


@pytest.mark.parametrize("name", PAPER)
def test_each_default_is_the_papers(name: str) -> None:
    found = value_of(config.Config(), name)
    assert found == PAPER[name]
    assert type(found) is type(PAPER[name])


def test_workers_have_one_thread_and_go_without_ray_and_without_a_gpu() -> None:
    with pytest.raises(UserError, match=r"leave compute.threads 0, or set compute.workers=0"):
        load("nano", ["compute.threads=2"])
    assert workers_asked(load("nano")) == 2
    for elsewhere in (
        ["compute.device=cuda"],
        ["compute.update_processes=2"],
        ["compute.offload=true"],
        ["compute.update_hosts=2", "compute.ray=auto"],
        ["compute.workers=0"],
    ):
        assert workers_asked(load("nano", [*elsewhere, "compute.threads=2"])) == 0


def flat(c: config.Config) -> dict[str, object]:
    return {f"{s}.{k}": v for s, own in c.to_dict().items() if s != "scale" for k, v in own.items()}


def unlike_the_default(c: config.Config) -> dict[str, object]:
    plain = flat(config.Config())
    return {k: v for k, v in flat(c).items() if v != plain[k]}


@pytest.mark.parametrize("scale", ["0.8B", "2B", "4B", "9B"])
def test_a_preset_of_the_paper_names_its_student_and_fills_its_passes(scale: str) -> None:
    fuller = {} if scale == "9B" else {"trainer.token_budget": 65_536}
    student = {"student.model": f"Qwen/Qwen3.5-{scale}"}
    assert unlike_the_default(load(scale)) == student | fuller
    assert load(scale).scale == scale


def test_the_zone_is_nano_with_another_student_other_questions_and_rate() -> None:
    nano, zone = unlike_the_default(load("nano")), unlike_the_default(load("zone"))
    zone["compute.workers"] = load("zone").compute.workers
    assert {k: v for k, v in zone.items() if nano.get(k) != v} == {
        "run.rollout_steps": 24,
        "run.steps_per_task": 24,
        "data.source": "zone",
        "student.model": "nano:zone-student",
        "teacher.model": "nano:zone-teacher",
        "optimizer.lr": 2e-4,
        "evaluation.suite": "zone",
        "trainer.token_budget": 16_384,
        "compute.workers": 0,
    }
    assert not nano.keys() - zone.keys()


def test_nano_is_the_papers_recipe_but_for_what_its_size_asks() -> None:
    """The figures of docs/nano.md and docs/evidence.md were made with these."""
    assert unlike_the_default(load("nano")) == {
        "run.rollout_steps": 40,
        "data.source": "digits",
        "data.train_questions": 1920,
        "student.model": "nano:student",
        "student.thinking": False,
        "student.dtype": "float32",
        "teacher.model": "nano:teacher",
        "teacher.thinking": False,
        "teacher.prefill": 1.0,
        "rollout.new_prompts": 48,
        "rollout.max_tokens": 64,
        "replay.capacity": 512,
        "reformulation.candidate_tokens": 64,
        "optimizer.lr": 1e-4,
        "optimizer.weight_decay": 0.0,
        "trainer.token_budget": 768,
        "trainer.checkpointing": False,
        "trainer.max_mismatch": 1e-3,
        "evaluation.suite": "nano",
        "evaluation.tasks": 2,
        "evaluation.limit": 300,
        "evaluation.max_tokens": 64,
        "evaluation.temperature": 1.0,
        "evaluation.top_p": 1.0,
        "evaluation.top_k": 0,
        "evaluation.presence_penalty": 0.0,
        "store.checkpoint_every": 4,
        "compute.engine": "hf",
        "compute.device": "cpu",
        "compute.student_gpus": 0,
        "compute.teacher_gpus": 0,
        "compute.cpus": 2,
        "compute.workers": 2,
        "compute.memory_mb": 4096,
    }
    assert load().scale == "nano"


def test_the_layout_of_the_paper_is_eight_nodes_of_six_and_two_gpus() -> None:
    c = load("4B@eight-nodes").compute
    assert (c.update_hosts, c.student_gpus, c.teacher_gpus) == (8, 6, 2)
    assert c.ray == "auto"
    one = load("4B@eight-gpus")
    assert (one.compute.update_hosts, one.compute.student_gpus, one.compute.teacher_gpus) == (
        1,
        6,
        2,
    )
    assert one.teacher.scope == "hard"
    alone, small = load("4B@one-gpu"), load("4B@lora-24gb")
    assert (alone.compute.student_gpus, alone.compute.teacher_gpus) == (1, 0)
    assert alone.compute.offload
    assert (small.compute.student_gpus, small.compute.teacher_gpus) == (1, 0)
    assert (small.trainer.lora_rank, alone.trainer.lora_rank) == (16, 0)


def test_the_sweep_of_the_evidence_is_paired_and_has_five_seeds() -> None:
    path = resources.files("zppo_core.config") / "sweeps" / "evidence.toml"
    plan = tomllib.loads(path.read_text("utf-8"))
    assert plan["seeds"] == [0, 1, 2, 3, 4]
    assert plan["scales"] == ["nano"]
    assert plan["methods"] == [
        "grpo",
        "grpo_replay",
        "grpo_both",
        "grpo_replay_bcq",
        "grpo_replay_ncq",
        "zppo",
        "off_distill_replay",
        "on_distill_replay",
    ]
    assert "run.rollout_steps=24" in plan["set"]
    assert "evaluation.limit=1000" in plan["set"]


def test_rollouts_and_judges_decode_as_the_paper_does() -> None:
    plain = Sampling(max_tokens=1)
    assert plain == Sampling(1, 1, 1.0, 1.0, 0, 0.0, 0.0, 1.0)
    assert Sampling(512, temperature=0.0) == GREEDY
    decoding = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    assert decoding == {
        "max_tokens": 1,
        "n": 1,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
    }


def test_the_evaluation_scales_pictures_and_judges_as_the_paper_says() -> None:
    from eval.judges import Judge
    from eval.settings import Settings

    asked = Settings()
    assert (asked.min_pixels, asked.max_pixels) == (256 * 32 * 32, 1280 * 32 * 32)
    assert asked.judge_tokens == Judge.max_tokens == 512


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("run.rollout_steps", ["0", "1"], ["-1"]),
        ("run.steps_per_task", ["1"], ["0"]),
        ("data.seed", ["0"], ["-1"]),
        ("data.reserve", ["1"], ["0.99"]),
        ("rollout.group_size", ["2"], ["1"]),
        ("rollout.new_prompts", ["1"], ["0"]),
        ("rollout.max_tokens", ["1"], ["0"]),
        ("rollout.temperature", ["1.0"], ["0.9", "1.1"]),
        ("rollout.top_p", ["1.0"], ["0.9"]),
        ("teacher.rollouts", ["1"], ["0"]),
        ("teacher.concurrency", ["1"], ["0"]),
        ("teacher.endpoint", ["http://host:1/v1", "https://host/v1"], ["host:1", "ftp://host"]),
        ("compute.engine_memory", ["0.01", "0.99"], ["0", "1"]),
        ("teacher.prefill", ["0", "1"], ["-0.1", "1.1"]),
        ("replay.ratio", ["0"], ["-0.1"]),
        ("replay.capacity", ["0"], ["-1"]),
        ("replay.threshold", ["0.01", "1"], ["0", "1.01"]),
        ("reformulation.ratio", ["0"], ["-0.1"]),
        ("reformulation.candidate_tokens", ["1"], ["0"]),
        ("reformulation.prefix_share", ["0.01", "0.99"], ["0", "1"]),
        ("advantage.eps", ["1e-12"], ["0"]),
        ("loss.clip_low", ["0.01", "0.99"], ["0", "1"]),
        ("loss.clip_high", ["0.01", "2"], ["0"]),
        ("loss.dual_clip", ["1.01"], ["1"]),
        ("optimizer.lr", ["1e-12"], ["0"]),
        ("optimizer.updates", ["1"], ["0"]),
        ("trainer.token_budget", ["1"], ["0"]),
        ("trainer.lora_rank", ["0", "1"], ["-1"]),
        ("compute.zero_stage", ["1", "2", "3"], ["0", "4"]),
        ("evaluation.shard", ["1"], ["0"]),
        ("store.checkpoint_every", ["1"], ["0"]),
        ("store.keep_checkpoints", ["1"], ["0"]),
    ],
)
def test_each_rule_refuses_just_beyond_its_bound_and_names_its_field(name, good, bad) -> None:
    for value in good:
        load("nano", [f"{name}={value}"])
    for value in bad:
        with pytest.raises(UserError, match=re.escape(name)):
            load("nano", [f"{name}={value}"])


def test_fields_that_go_together_are_checked_together() -> None:
    several = ["run.method=zppo_teachers", "teacher.more_models=nano:student"]
    load("nano", several)
    for one in several:
        with pytest.raises(UserError, match=r"teacher\.more_models"):
            load("nano", [one])
    load("nano", ["data.min_pixels=10", "data.max_pixels=10"])
    load("nano", ["data.min_pixels=10"])
    with pytest.raises(UserError, match=r"data\.min_pixels"):
        load("nano", ["data.min_pixels=11", "data.max_pixels=10"])
    address = "teacher.endpoint=http://host:1/v1"
    for method in ("off_distill", "on_distill", "on_distill_replay"):
        load("nano", [f"run.method={method}"])
        with pytest.raises(UserError, match=r"leave teacher\.endpoint empty"):
            load("nano", [f"run.method={method}", address])
    for ray in ("auto", "10.0.0.1:6379"):
        load("4B", ["compute.update_hosts=2", f"compute.ray={ray}"])
    load("4B", ["compute.update_hosts=1"])
    with pytest.raises(UserError, match=r"compute\.ray"):
        load("4B", ["compute.update_hosts=2"])
    for ray in ("10.0.0.1", "ray://10.0.0.1:10001", "10.0.0.1:port"):
        with pytest.raises(UserError, match=r"compute\.ray is the address"):
            load("4B", [f"compute.ray={ray}"])


def test_json_round_trip():
    import json

    c = config.load("nano")
    assert config.from_dict(json.loads(c.to_json())) == c


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", "did you mean optimizer.lr?"),
        ("optimiser.lr=1", "did you mean 'optimizer'?"),
        ("data.min_pixels=-1", "data.min_pixels must be in [0, 2147483647]"),
        ("optimizer.lr=fast", "'fast' is not a number"),
        ("rollout.new_prompts=1.5", "1.5 is not a whole number"),
        ("advantage.norm=std", "one of nonzero, all, none, grpo"),
        ("run.method=zpo", "did you mean 'zppo'?"),
        ("optimizer.lr", "section.field=value"),
        ("scale=4B", "section.field=value"),
        ("scale.x=4B", "name it by --scale"),
        ("run=3", "section.field=value"),
        ("optimizer.betas=[0.9", "is no TOML"),
        ("rollout.temperature=0.7", "must be 1"),
        ("replay.threshold=0", "(0, 1]"),
        ("optimizer.betas=0.9", "is not"),
    ],
)
def test_faults_are_one_line_with_the_fix(override, message):
    with pytest.raises(UserError) as error:
        config.load("nano", [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_scale_names_the_nearest():
    with pytest.raises(UserError, match=r"0\.8B"):
        config.load("0.8b")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", ["0.8B", "2B", "4B", "9B"])
def test_a_layout_changes_the_machine_of_a_preset_and_not_its_recipe(scale, layout) -> None:
    plain = load(scale)
    there = load(f"{scale}@{layout}", ["compute.ray=10.0.0.1:6379"])
    assert there.scale == scale
    for section in ("rollout", "replay", "reformulation", "advantage", "loss", "optimizer"):
        assert getattr(there, section) == getattr(plain, section)
    assert there.compute != plain.compute


def test_layouts_fit_the_gpus_they_are_named_after() -> None:
    endpoint = ["teacher.endpoint=http://host:8000/v1"]
    for scale in ("0.8B", "2B", "4B"):
        assert memory.fault(load(f"{scale}@lora-24gb", endpoint), 24) == ""
    for scale in ("0.8B", "2B", "4B", "9B"):
        assert memory.fault(load(f"{scale}@one-gpu", endpoint), 80) == ""
        assert memory.fault(load(f"{scale}@eight-gpus"), 80) == ""
    # without an address the teacher's 27 B would take turns on the same GPU
    assert "teacher.endpoint" in memory.fault(load("4B@lora-24gb"), 24)
    assert memory.fault(load("4B@one-gpu"), 80) == ""
    assert "vLLM gets" in memory.fault(load("9B@lora-24gb", endpoint), 24)


def test_an_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UserError, match="one-gpu"):
        load("4B@one-gpus")


def test_a_stored_configuration_with_a_field_that_is_gone_can_be_read() -> None:
    stored = load("4B@eight-nodes").to_dict()
    stored["compute"]["overlap"] = 4
    assert from_record(stored) == load("4B@eight-nodes")
    with pytest.raises(UserError, match="overlap"):
        from_dict(stored)


def test_each_layer_of_a_configuration_wins_over_those_before_it():
    """Preset, layout, the method's own settings, file, options that name a field, `--set`."""
    preset = load("4B").compute.student_gpus
    layout = load("4B@one-gpu").compute.student_gpus
    assert preset != layout
    own = Source(
        "mine.toml", "[compute]\nstudent_gpus = 5\n[run]\nseed = 1\n[loss]\nclip_low = 0.1"
    )
    config = resolve("4B@one-gpu", "gspo", "", [], own)
    assert (config.compute.student_gpus, config.run.seed, config.loss.clip_low) == (5, 1, 0.1)
    assert config.loss.clip_high == 4e-4  # the method's, of which the file says nothing
    assert resolve("4B", "gspo", "2", [], own).run.seed == 2
    last = resolve("4B", "gspo", "2", ["run.seed=3", "loss.clip_low=0.05", "run.seed=4"], own)
    assert (last.run.seed, last.loss.clip_low) == (4, 0.05)


def test_the_settings_are_those_of_the_method_that_is_named_last():
    own = Source("mine.toml", '[run]\nmethod = "gspo"')
    config = resolve("nano", "", "", ["run.method=cispo"], own)
    assert (config.loss.clip_low, config.loss.clip_high) == (0.2, 4.0)
    assert resolve("nano", "zppo", "", [], own).loss.clip_high == 0.28


def test_equal_configurations_have_equal_json_whatever_the_order_of_their_fields():
    text = load("nano").to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True)


STALE = ["compute.staleness=1", "loss.importance_cap=2"]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["compute.staleness=1"], "needs importance weights"),
        ([*STALE, "run.method=on_distill"], "is for methods that learn from advantages"),
        ([*STALE, "run.method=dapo"], "dapo asks in rounds"),
        ([*STALE, "run.method=luffy"], "luffy asks in rounds or learns from the teacher's tokens"),
        (["compute.teacher_gpus=4", "compute.teacher_tensor_parallel=3"], "must divide"),
        (["compute.workers=2", "compute.threads=2"], "have one thread each"),
        (["compute.update_hosts=2"], "needs a Ray of several nodes"),
        (["data.min_pixels=9", "data.max_pixels=8"], "at most data.max_pixels"),
        (["run.method=scaf_grpo", "run.rollout_steps=0"], "changes its prompts over the run"),
        (["run.method=opsd", "compute.update_processes=2"], "updates in one process"),
        (["compute.ray=http://x"], "address of a Ray's head"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(sets, said):
    with pytest.raises(UserError, match=re.escape(said)):
        load("nano", sets)


def test_settings_that_go_together_are_taken_and_all_faults_are_told_at_once():
    for sets in (
        STALE,
        ["compute.teacher_gpus=4", "compute.teacher_tensor_parallel=2"],
        ["compute.workers=2", "compute.threads=1"],
        ["data.min_pixels=9"],  # without an upper bound
    ):
        load("nano", sets)
    with pytest.raises(UserError) as told:
        load("nano", ["compute.update_hosts=2", "data.min_pixels=9", "data.max_pixels=8"])
    assert len(str(told.value).splitlines()) == 2
