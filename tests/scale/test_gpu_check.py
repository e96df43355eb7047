"""`make gpu-check` does its work: here on a CPU with a tiny shape."""

import argparse
import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = {"device": "cpu", "prompt": 40, "response": 16, "groups": 2, "budget": 512}


@pytest.fixture
def gpu_check(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_check")


def test_both_ways_of_running_passes_agree_on_random_weights(gpu_check) -> None:
    rows = gpu_check.check("tiny", argparse.Namespace(**SIZES))
    assert [row["passes"] for row in rows] == ["padded", "shared_prefix"]
    assert all(row["holds"] for row in rows)
    assert rows[0]["mean |dlogp|"] < 1e-5


def test_a_wrong_log_probability_fails_the_check(gpu_check, monkeypatch) -> None:
    real = gpu_check.Trainer.score

    def off(trainer, groups):
        scores = real(trainer, groups)
        gap = 0.2 if trainer.mode == "padded" else 0.0
        return [tuple(s + gap for s in g) for g in scores]

    monkeypatch.setattr(gpu_check.Trainer, "score", off)
    rows = gpu_check.check("tiny", argparse.Namespace(**SIZES))
    assert not any(row["holds"] for row in rows)


@pytest.mark.parametrize(
    ("name", "rank", "fits"), [("0.8B", 0, 80), ("4B", 0, 140), ("4B", 16, 40)]
)
def test_what_an_update_needs_is_told_beforehand(gpu_check, name, rank, fits) -> None:
    assert gpu_check.needed_gib(name, 16_384, rank) < fits
    assert gpu_check.needed_gib("9B", 16_384, 0) > 140


def test_more_memory_than_estimated_fails_the_check(gpu_check) -> None:
    assert gpu_check.fits(31.0, 32.0)
    assert not gpu_check.fits(33.0, 32.0)
