"""A data set that no record pins is read at one commit by all runs of a teacher cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.pins import pinned
from eval.protocol import Evaluator
from eval.rows import commit_of
from eval.settings import parse
from zppo_core.config import EvaluationConfig
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader
from zppo_core.store.objects import LocalStore

IMO = "OpenEvals/IMO-AnswerBench"


@pytest.fixture
def branch(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What the hub says that any branch is; None: it cannot be asked."""
    import huggingface_hub

    now: dict[str, str | None] = {"commit": "a" * 40}

    def info(api: object, dataset: str, revision: str) -> object:
        if now["commit"] is None:
            raise OSError("no network")
        return type("Info", (), {"sha": now["commit"]})()

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    commit_of.cache_clear()
    return now


def dataset(protocol: EvaluationConfig, benchmark: str) -> str:
    return parse(protocol.settings).dataset_of(benchmark)


def test_the_commit_of_the_first_run_is_that_of_all_later_ones(branch, tmp_path: Path) -> None:
    asked = EvaluationConfig(suite="IMO-AB,MMLU", settings={"datasets": {"AI2D": "me/ai2d@x"}})
    first = pinned(asked, LocalStore(tmp_path))
    assert dataset(first, "IMO-AB") == f"{IMO}@{'a' * 40}"
    assert dataset(first, "MMLU") == ""  # its record has a commit
    assert dataset(first, "AI2D") == "me/ai2d@x"
    branch["commit"] = "b" * 40  # the branch moves
    commit_of.cache_clear()
    assert pinned(asked, LocalStore(tmp_path)) == first
    assert dataset(pinned(asked, LocalStore(tmp_path / "other")), "IMO-AB") == f"{IMO}@{'b' * 40}"
    keys = {Evaluator(p, Templates(), Grader()).key(True) for p in (asked, first)}
    assert len(keys) == 2  # scores of another commit are of another protocol


def test_folders_chosen_data_sets_and_a_hub_out_of_reach_stay(branch, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    folder = EvaluationConfig(suite="IMO-AB", source=str(tmp_path))
    assert pinned(folder, store) is folder
    chosen = EvaluationConfig(suite="IMO-AB", settings={"datasets": {"IMO-AB": "me/imo"}})
    assert pinned(chosen, store) is chosen
    branch["commit"] = None
    away = EvaluationConfig(suite="IMO-AB")
    assert pinned(away, store) is away
    nano = EvaluationConfig(suite="nano")
    assert pinned(nano, store) is nano
