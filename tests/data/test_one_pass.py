"""The paper goes over its corpus once: a run that goes over it again says so, and counts."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zppo_core.config import load
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.zppo77k.card import _passes
from zppo_core.protocols import silent
from zppo_core.run import corpus as module
from zppo_core.run.loop import new_pass
from zppo_core.run.setup import open_run
from zppo_core.types import Question


def corpus(size: int) -> ListCorpus:
    return ListCorpus([Question(f"q{i}", f"What is {i}?", str(i)) for i in range(size)], seed=0)


@pytest.mark.parametrize("size", [76_800, 77_000, 100_000])
def test_the_papers_200_steps_are_one_pass_over_a_corpus_of_its_size(size: int) -> None:
    found = corpus(size).coverage(200, 384)
    assert found.again == 0
    assert found.unasked == size - 76_800
    assert "second pass" not in found.text()


def test_a_corpus_of_70_000_begins_its_second_pass_at_step_183() -> None:
    found = corpus(70_000).coverage(200, 384)
    assert found.steps_per_pass == 182
    # 18 steps of a new order: all but those of the 112 that the first pass left out
    assert 18 * 384 - 112 <= found.again <= 18 * 384
    assert found.again + 70_000 - found.unasked == 200 * 384
    said = found.text()
    assert "a second pass begins at step 183" in said
    assert f"{found.again:,} questions are asked as new once more" in said


def prepared(monkeypatch, tmp_path: Path, size: int, steps: int) -> dict[str, Any]:
    sets = {"run.rollout_steps": steps, "rollout.new_prompts": 10, "run.method": "grpo"}
    run = open_run(load("nano", {**sets, "store.root": str(tmp_path)}), "test")
    monkeypatch.setattr(module, "build_corpus", lambda config: corpus(size))
    return module.prepare(run, [], silent)


def test_the_data_report_counts_and_the_log_says_what_is_asked_again(
    monkeypatch, tmp_path, capsys
) -> None:
    report = prepared(monkeypatch, tmp_path, 40, 6)
    assert "a second pass begins at step 5, and 20 questions" in capsys.readouterr().out
    assert report["coverage"] == {"steps": 6, "steps_per_pass": 4, "unasked": 0, "again": 20}
    assert json.dumps(report)  # an artifact
    report = prepared(monkeypatch, tmp_path, 45, 4)
    assert "4 rollout steps are one pass; 5 questions are never asked" in capsys.readouterr().out
    assert report["coverage"]["again"] == 0
    prepared(monkeypatch, tmp_path, 45, 2)
    assert "a part of one pass, which is 4" in capsys.readouterr().out
    assert prepared(monkeypatch, tmp_path, 45, 0)["coverage"]["steps"] == 4  # one pass by itself


def test_the_step_that_begins_another_pass_says_so() -> None:
    def at(step: int) -> str:
        config = SimpleNamespace(rollout=SimpleNamespace(new_prompts=10))
        world: Any = SimpleNamespace(
            corpus=corpus(45), config=config, state=SimpleNamespace(step=step)
        )
        return new_pass(world)

    assert [step for step in range(13) if at(step)] == [4, 8, 12]
    assert at(4).startswith("pass 2 over the corpus begins at rollout step 5")


def test_the_card_of_the_corpus_says_how_many_steps_one_pass_is() -> None:
    beyond, whole = (_passes(n, 384, 200)[2] for n in (70_000, 77_000))
    assert "one pass is 182 rollout steps; the presets take 200, the last 18" in beyond
    assert "one pass is 200 rollout steps; the presets take 200." in whole
