"""An engine is one file, from outside the package too."""

import json

import pytest
from short_run import ROOT, rows, short_run

from eval.engines import LazyEngine, ModelSpec
from zppo_core.config import load
from zppo_core.engines.base import KINDS, BaseEngine, EngineKind, find_kind
from zppo_core.errors import UserError
from zppo_core.run.preflight import check
from zppo_core.types import Completion

FILE = ROOT / "examples" / "fixed_teacher.py"
ENGINE = f"{FILE}:KIND"


def test_an_engine_of_ones_own_samples_for_a_run(tmp_path) -> None:
    run = short_run(tmp_path, compute__engine=ENGINE, reformulation__compression="extract")
    draws = [r for r in rows(run, "teacher", "teacher_draws") if r["purpose"] == "draw"]
    assert draws
    assert {d["text"] for d in draws} == {"It is seven.</think>So \\boxed{7}"}
    rewards = {d["reward"] for d in draws}
    assert rewards <= {0.0, 1.0}
    assert rows(run, "plain", "rollouts")
    (step,) = rows(run, "update", "steps")
    assert step["mismatch_mean"] < 0.05  # the student's engine is the trainer's own model
    phase = rows(run, "update", "phases")[0]
    assert phase["sync_bytes"] == 0


def test_a_judge_may_run_on_an_engine_of_ones_own() -> None:
    engine = ModelSpec("nano:teacher", ENGINE, "float32", "cpu").open()
    assert engine.name == "always seven"
    lazy = LazyEngine(lambda: engine)
    assert (lazy.version, lazy.context, lazy.shares_weights) == (0, 0, False)


def test_the_products_own_engines_are_found_the_same_way() -> None:
    assert set(KINDS) == {"hf", "vllm"}
    assert all(isinstance(find_kind(name), EngineKind) for name in KINDS)
    assert [find_kind(name).in_process for name in ("hf", "vllm")] == [True, False]


def test_an_engine_without_a_gpu_has_nothing_to_leave_or_to_end() -> None:
    class Silent(BaseEngine):
        def generate(self, *_: object) -> list[tuple[Completion, ...]]:
            return []

    engine = Silent()
    engine.sleep()
    engine.close()
    with engine.staged({}) as path:
        assert path == ""


def test_what_is_no_engine_is_one_line_before_a_run() -> None:
    with pytest.raises(UserError, match="'sglang' is not one of hf, vllm"):
        load("nano", ["compute.engine=sglang"])
    with pytest.raises(UserError, match="is no engine: it is "):
        check(load("nano", [f"compute.engine={FILE}:FixedEngine"]))
    with pytest.raises(UserError, match="cannot import"):
        check(load("nano", ["compute.engine=not.there:KIND"]))
    assert json.loads(load("nano").to_json())["compute"]["engine"] == "hf"
