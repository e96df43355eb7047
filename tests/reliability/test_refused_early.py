"""What cannot be is refused in one line, before anything is loaded, read or written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zppo_core.config import Config, load
from zppo_core.config.fields import as_text
from zppo_core.config.overrides import resolve
from zppo_core.errors import UserError, suggestion
from zppo_core.run import sweep
from zppo_core.run.names import RESERVED, check_apart, check_name
from zppo_core.run.setup import open_run
from zppo_core.store.base import DamagedObjectError
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore

REFUSED = [
    "optimizer.lr=inf",
    "optimizer.lr=nan",
    "optimizer.lr=1e30",
    "optimizer.betas=0.9,1.5",
    "optimizer.betas=0.9,1",
    "optimizer.betas=-0.1,0.9",
    "optimizer.betas=nan,0.9",
    "optimizer.eps=0",
    "optimizer.eps=-1",
    "optimizer.weight_decay=-5",
    "optimizer.weight_decay=nan",
    "optimizer.max_grad_norm=-1",
    "optimizer.max_grad_norm=inf",
    "loss.importance_cap=-1",
    "loss.clip_high=inf",
    "advantage.eps=nan",
    "trainer.lora_alpha=-1",
    "trainer.lora_rank=999999",
    "trainer.max_mismatch=nan",
    "trainer.max_mismatch=-1",
    "run.seed=100000000000000000000000",
    "run.seed=-1",
    "run.rollout_steps=1000000",
    "rollout.max_tokens=100000000000000000000",
    "data.train_questions=-1",
    "data.max_prompt_tokens=-1",
    "reformulation.retries=-1",
    "evaluation.temperature=-1",
    "evaluation.temperature=nan",
    "evaluation.top_p=7",
    "evaluation.top_p=0",
    "evaluation.top_k=-9",
    "evaluation.min_p=nan",
    "evaluation.min_p=2",
    "evaluation.repetition_penalty=0",
    "evaluation.presence_penalty=nan",
    "evaluation.presence_penalty=9",
    "evaluation.max_tokens=0",
    "evaluation.limit=-3",
    "evaluation.context=0",
    "evaluation.judge=ftp://x",
    "student.model=ftp://x",
    "compute.threads=-5",
    "compute.update_processes=-2",
    "compute.student_gpus=-3",
    "compute.teacher_gpus=-1",
    "compute.update_hosts=0",
    "compute.cpus=0",
    "compute.memory_mb=-1",
    "store.root=",
    "store.root=a\0b",
    "store.root=ftp://x",
    "store.root=s3://",
    "store.cache=s3:///x",
    "store.database=",
    "store.database=s3://b/x",
    "data.source=a\nb",
    "teacher.endpoint=http://host:1/v1\x7f",
]


@pytest.mark.parametrize("override", REFUSED)
def test_a_value_that_cannot_be_is_refused_and_its_field_named(override: str) -> None:
    with pytest.raises(UserError) as fault:
        load("nano", [override])
    assert override.partition("=")[0] in str(fault.value)
    assert len(str(fault.value).splitlines()) == 1


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.max_grad_norm=0",
        "optimizer.betas=0,0",
        "optimizer.weight_decay=0",
        "evaluation.temperature=0",
        "evaluation.presence_penalty=-2",
        "evaluation.top_p=1",
        "evaluation.judge=none",
        "evaluation.judge=https://h/v1#m",
        "evaluation.judge=org/model",
        "store.root=s3://bucket",
        "store.cache=s3://bucket/x/y",
        "run.seed=9223372036854775807",
        "store.root=pfad mit ümläut 日本",
        "loss.importance_cap=0",
    ],
)
def test_what_can_be_is_taken_and_read_back_from_what_is_stored(override: str) -> None:
    section, name = override.partition("=")[0].split(".")
    config = load("nano", [override])
    stored = as_text(config.to_dict()[section][name])
    assert load("nano", [f"{section}.{name}={stored}"]) == config


NUMBERS = {
    f"{section}.{name}": value
    for section, fields in Config().to_dict().items()
    if isinstance(fields, dict)
    for name, value in fields.items()
    if isinstance(value, (int, float)) and not isinstance(value, bool)
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_range_beside_its_field(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} must be "):
        load("nano", {name: -3})


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.sampled_from(sorted(NUMBERS)))
def test_no_number_that_is_not_finite_is_taken(value: float, name: str) -> None:
    for given_ in (value, str(value)):
        with pytest.raises(UserError, match=name):
            load("nano", {name: given_})


def test_all_faults_are_said_at_once_a_line_each() -> None:
    sets = {
        "optimizer.lr": "fast",
        "replay.threshold": 0,
        "optimiser.lr": 1,
        "optimizer.lrr": 1,
        "advantage.norm": "std",
        "run.method": "zpo",
        "data.columns": {"foo": "bar"},
        "optimizer.betas": [0.9],
        "run.seed": True,
        "compute.offload": 2,
    }
    with pytest.raises(UserError) as fault:
        load("nano", sets)
    lines = str(fault.value).splitlines()
    assert len(lines) == len(sets)
    for name, words in {
        "optimizer.lr": "optimizer.lr: 'fast' is not a number",
        "replay.threshold": "replay.threshold must be in (0, 1]",
        "optimiser": "unknown section 'optimiser'; did you mean 'optimizer'?",
        "optimizer.lrr": "unknown field optimizer.lrr; did you mean optimizer.lr?",
        "advantage.norm": "is not one of nonzero, all, none, grpo",
        "run.method": "unknown method 'zpo'; did you mean 'zppo'?",
        "data.columns": "data.columns: 'foo' is no role; it is one of question, answer",
        "optimizer.betas": "optimizer.betas: [0.9] is not 2 numbers",
        "run.seed": "run.seed: True is not a whole number",
        "compute.offload": "compute.offload: 2 is not true or false",
    }.items():
        assert any(words in line for line in lines), name


def test_broken_rules_over_several_fields_are_said_together() -> None:
    sets = ["compute.update_hosts=2", "data.min_pixels=9", "data.max_pixels=3"]
    with pytest.raises(UserError) as fault:
        load("nano", sets)
    assert len(str(fault.value).splitlines()) == 2


GOOD_NAMES = ["run", "0.8B-zppo-s0-17", "a/b", "night_2@lab+x=1", "R2.1", "journals", "x" * 128]
BAD_NAMES = [
    "..",
    ".",
    "../x",
    "a/../b",
    "a/..",
    "a//b",
    "a/",
    "/abs",
    "/",
    "a\nb",
    "a\0b",
    "a\\b",
    "a b",
    " a",
    "a ",
    ".guard",
    ".writing-1",
    "a/.guard",
    "teacher_cache",
    "teacher_cache/draws",
    "cache",
    "Cache",
    "x/journal",
    "x/checkpoints",
    "checkpoints",
    "lock.json",
    "x/lock.json",
    "corpus.json",
    "sweeps",
    "x" * 129,
    "ü",
    "a~",
    "~",
    "-x",
    "a:b",
    "s3://b/x",
    "x.",
    "a\tb",
    "a\u200bb",
    "x?",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_folder_of_a_run_may_have_is_refused(name: str, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    config = load("nano", {"store.root": str(root)})
    with pytest.raises(UserError, match="no run can be named") as fault:
        open_run(config, "1", name)
    assert len(str(fault.value).splitlines()) == 1
    assert len(str(fault.value)) < 250
    assert not root.exists()


@given(st.text(max_size=12))
def test_a_name_that_is_taken_is_one_key_below_the_store(name: str) -> None:
    try:
        check_name(name)
    except UserError:
        return
    from zppo_core.store.base import check_key, join

    assert check_key(name) == join(name) == name
    assert not {part.casefold() for part in name.split("/")} & RESERVED


@pytest.mark.parametrize("name", ["draw-cache", "draw-cache/x", "deep"])
def test_a_run_lies_beside_the_cache_and_not_in_it(name: str, tmp_path: Path) -> None:
    cache = {"deep": "deep/cache"}.get(name, "draw-cache")
    config = load("nano", [f"store.root={tmp_path}/runs", f"store.cache={tmp_path}/runs/{cache}"])
    with pytest.raises(UserError, match="would share a folder"):
        open_run(config, "1", name)
    assert not (tmp_path / "runs").exists()
    check_apart(name, "s3://bucket/runs", "s3://bucket/other")
    check_apart("draw", f"{tmp_path}/runs", f"{tmp_path}/runs/draw-cache")


def test_a_sweep_refuses_members_that_no_run_can_be_named_after() -> None:
    plan = sweep.plan("", "../x", "GRPO", "nano", "0", "")
    with pytest.raises(UserError, match="no run can be named"):
        sweep.members(plan)
    (member,) = sweep.members(sweep.plan("", "x", "GRPO", "nano", "0", ""))
    assert member.name == "x-nano-grpo-s0"


def test_an_unsafe_key_is_no_damage(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path), "../x")
    for ask in (journal.manifest, journal.read, lambda unit: journal.commit(unit, {"a": b""})):
        with pytest.raises(ValueError, match="unsafe key"):
            ask("run")
    inside = Journal(LocalStore(tmp_path), "x")
    inside.store.put("x/run/manifest.json", b"{")
    with pytest.raises(DamagedObjectError, match="manifest is damaged"):
        inside.manifest("run")


@pytest.mark.parametrize("method", ["GRPO", "Grpo", "grpo", " grpo "])
def test_methods_are_named_in_any_case(method: str) -> None:
    assert resolve("nano", method, "0", []).run.method == "grpo"
    assert load("nano", [f"run.method={method}"]).run.method == "grpo"


def test_a_suggestion_is_like_the_name_or_all_there_are() -> None:
    assert suggestion("ZPO", ["grpo", "zppo"]) == "did you mean 'zppo'?"
    assert suggestion("NANO", ["nano", "4B"]) == "did you mean 'nano'?"
    assert suggestion("ppo_clip_higher", ["grpo", "zppo"]) == "it is one of grpo, zppo"
    with pytest.raises(UserError, match="unknown method 'sft'; it is one of grpo, "):
        load("nano", ["run.method=sft"])
    with pytest.raises(UserError, match=r"it is one of optimizer\.lr"):
        load("nano", ["optimizer.qqqqqq=1"])
