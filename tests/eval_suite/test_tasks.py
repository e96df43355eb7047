"""The suite dealt out to tasks; in a task every engine starts once, however many benchmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import fixtures, harness, scores, suite
from eval.engines import LazyEngine
from eval.judges import Judge
from eval.models import EvalModel
from eval.protocol import Evaluator
from zppo_core.config import load
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader
from zppo_core.run.spec import Run


def run_in(folder: Path, *sets: str) -> Run:
    config = load("nano", ["evaluation.suite=paper31", *sets])
    return Run("r", config, "2026-01-01T00:00:00", str(folder), str(folder), f"{folder}/db", 0)


def size(item: scores.Item, limit: int) -> int:
    expected = harness.expected_of(suite.find("paper31", item["benchmark"]), limit)
    return len(harness.Part(item["index"], item["of"]).cut(expected))


@given(tasks=st.integers(0, 80), limit=st.integers(0, 5000), shard=st.integers(50, 5000))
def test_every_item_is_in_one_share_and_shares_are_about_equal(tasks, limit, shard) -> None:
    protocol = (f"evaluation.limit={limit}", f"evaluation.shard={shard}")
    one_each = [i for (i,) in scores.plan(run_in(Path(), "evaluation.tasks=0", *protocol))]
    shares = scores.plan(run_in(Path(), f"evaluation.tasks={tasks}", *protocol))
    assert len(shares) == min(tasks or len(one_each), len(one_each))
    for share in shares:
        assert share == [i for i in one_each if i in share]  # in the suite's order
    dealt = [i for share in shares for i in share]
    assert sorted(map(json.dumps, dealt)) == sorted(map(json.dumps, one_each))
    loads = [sum(size(i, limit) for i in share) for share in shares]
    largest = max(size(i, limit) for i in one_each)
    assert max(loads) <= sum(loads) / len(loads) + largest


def test_a_preset_for_gpus_has_one_task_and_nano_one_for_each_benchmark() -> None:
    assert load("4B").evaluation.tasks == 1
    assert load("nano").evaluation.tasks == 2


@dataclass
class Starts:
    """Engines that say "C", and what was opened and closed, in order."""

    log: list[str] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)

    def engine(self, role: str) -> LazyEngine:
        def says(prompt, member) -> str:
            return json.dumps({"verdict": "correct"}) if "verdict" in prompt.text else r"\boxed{C}"

        def open_it() -> ScriptedEngine:
            self.log.append(f"{role} starts")
            self.alive.add(role)
            engine = ScriptedEngine(says, role)
            engine.close = lambda: self.alive.discard(role)  # type: ignore[method-assign]
            return engine

        return LazyEngine(open_it)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.build(folder)
    return str(folder)


def evaluate(run: Run, starts: Starts, share: scores.ItemShare, show=scores.nothing):
    """Base, student and teacher, who also judges."""
    teacher = starts.engine("teacher")
    judge = Judge(teacher, label="teacher")
    evaluator = Evaluator(run.config.evaluation, Templates(), Grader(), judge)
    models = (
        EvalModel(role, f"key of {role}", False, engine)
        for role, engine in (
            ("base", starts.engine("base")),
            ("student", starts.engine("student")),
            ("teacher", teacher),
        )
    )
    return scores.run_share(run, evaluator, models, share, show)


def test_a_suite_of_31_starts_three_engines_on_a_node(source, tmp_path) -> None:
    run = run_in(
        tmp_path, f"evaluation.source={source}", "evaluation.limit=1", "evaluation.tasks=1"
    )
    starts, shown = Starts(), []
    (share,) = scores.plan(run)
    assert len({item["benchmark"] for item in share}) == 31

    def show(item, benchmark, rows, answers, exam) -> None:
        assert [r["role"] for r in rows] == list(answers) == ["base", "student", "teacher"]
        shown.append(item)

    rows = evaluate(run, starts, share, show)
    assert sorted(starts.log) == ["base starts", "student starts", "teacher starts"]
    assert starts.alive == set()
    assert shown == share
    assert [r["benchmark"] for r in rows] == [i["benchmark"] for i in share for _ in range(3)]
    assert sum(r["n"] for r in rows) >= 3 * 25

    again = Starts()
    assert evaluate(run, again, share) == rows
    assert again.log == []  # what is filed is not asked


def test_an_engine_is_closed_and_what_was_filed_is_kept_when_a_benchmark_fails(
    source, tmp_path, monkeypatch
) -> None:
    suites = "evaluation.suite=AI2D,MMLU,AIME25"
    run = run_in(tmp_path, suites, f"evaluation.source={source}", "evaluation.tasks=1")
    (share,) = scores.plan(run)
    real = harness.run_part

    def broken(engine, benchmark, *rest):
        if benchmark.name == share[1]["benchmark"]:
            raise UserError("no room")
        return real(engine, benchmark, *rest)

    monkeypatch.setattr(harness, "run_part", broken)
    starts = Starts()
    with pytest.raises(UserError, match="no room"):
        evaluate(run, starts, share)
    assert starts.log == ["base starts", "teacher starts"]  # who judges
    assert starts.alive == set()
    monkeypatch.undo()
    resumed = Starts()
    assert len(evaluate(run, resumed, share)) == 9
    assert sorted(resumed.log) == ["base starts", "student starts", "teacher starts"]
    assert resumed.alive == set()


def test_seconds_of_a_share_are_filed_under_its_first_item() -> None:
    item = lambda name, of=1: {"benchmark": name, "index": 0, "of": of}  # noqa: E731
    assert scores.stage_name([item("MMLU")]) == "MMLU"
    assert scores.stage_name([item("MMLU", 3)]) == "MMLU-0"
    assert scores.stage_name([item("MMLU"), item("AI2D")]) == "MMLU+1"
