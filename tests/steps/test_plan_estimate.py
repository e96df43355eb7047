"""`zppo plan --estimate` says what a run takes, below a configuration that still reads back."""

import json

import pytest

from eval.report.plan_estimate import estimated
from steps.plan import main
from zppo_core.config import Source, load
from zppo_core.config.load import resolved
from zppo_core.models.memory import estimate


def test_the_estimate_stands_in_comments_below_the_configuration(capsys) -> None:
    assert main(["--scale", "4B@eight-gpus", "--estimate"]) == 0
    said = capsys.readouterr().out
    assert resolved("", (), Source("plan", said)).config == load("4B@eight-gpus")
    assert "# GPUs: 8 on each of 1 hosts\n# memory of a student's GPU: 61 GiB\n" in said


def test_the_estimate_as_data_follows_the_settings(capsys) -> None:
    assert main(["--scale", "4B", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    memory = estimate(load("4B"))
    assert memory is not None
    assert found["student_gib"] == pytest.approx(memory.student_gib)
    assert found["tokens"].keys() == found["flops"].keys()
    half = estimated(load("4B", ["rollout.new_prompts=192", "store.keep_checkpoints=5"]))
    assert half.tokens is not None
    assert half.tokens["student trains"] == pytest.approx(found["tokens"]["student trains"] / 2)
    assert half.checkpoints_gib == pytest.approx(2 * found["checkpoints_gib"])


def test_models_of_unknown_size_have_no_figure_instead_of_an_invented_one() -> None:
    nano = estimated(load("nano"))
    assert (nano.gpus, nano.student_gib, nano.tokens, nano.checkpoints_gib) == (0, None, None, None)
    assert 0 < nano.journal_gib < 0.1
