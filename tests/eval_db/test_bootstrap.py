"""The cluster bootstrap reproduces the paper's Tables 14 and 15 from its per-benchmark numbers."""

from __future__ import annotations

import csv
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.report.bootstrap import cluster_bootstrap, comparisons


def reference(name):
    text = (resources.files("eval.report") / "reference" / f"{name}.csv").read_text(
        encoding="utf-8"
    )
    return list(csv.DictReader(text.splitlines()))


METHODS = {
    "14": ("off_distill_replay", "on_distill_replay", "grpo_replay"),
    "15": ("grpo_replay", "grpo_replay_bcq", "grpo_replay_ncq"),
}


@pytest.fixture(scope="module")
def published():
    scores = {}
    for row in reference("results"):
        if row["benchmark"] != "Avg":
            place = scores.setdefault((row["scale"], row["family"]), {})
            place.setdefault(row["method"], {})[row["benchmark"]] = float(row["accuracy"])
    return scores


def test_tables_14_and_15_follow_from_the_papers_own_cells(published):
    rows = reference("bootstrap")
    assert len(rows) == 96
    worst = 0.0
    for row in rows:
        scale, family = row["scale"], row["family"]
        ours = comparisons(published[scale, family], METHODS[row["table"]])
        interval, n = ours[row["comparison"]]
        low, high = float(row["ci_low"]), float(row["ci_high"])
        where = f"{row['table']} {scale} {family} {row['comparison']}"
        assert (interval.wins, n) == (int(row["wins"]), int(row["n"])), where
        assert abs(interval.mean - float(row["delta"])) <= 0.0051, where
        off = max(abs(interval.low - low), abs(interval.high - high))
        # printed ends are rounded to 0.01
        worst = max(worst, (off - 0.005) / (high - low))
    assert worst < 0.04


def test_comparisons_of_one_scale_and_family_share_the_draw():
    deltas = np.array([1.0, 2.0, 4.0, -3.0])
    a, b = cluster_bootstrap(deltas, seed=5), cluster_bootstrap(10 * deltas, seed=5)
    assert (b.low, b.high) == pytest.approx((10 * a.low, 10 * a.high))
    many = np.arange(16.0) ** 1.5
    assert cluster_bootstrap(many, seed=5) != cluster_bootstrap(many, seed=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.integers(0, 9))
def test_the_interval_lies_within_the_deltas_and_moves_with_them(deltas, seed):
    base = cluster_bootstrap(deltas, 500, seed)
    assert min(deltas) - 1e-9 <= base.low <= base.high <= max(deltas) + 1e-9
    assert base.mean == pytest.approx(np.mean(deltas))
    assert base.wins == sum(d > 0 for d in deltas)
    moved = cluster_bootstrap([d + 7 for d in deltas], 500, seed)
    assert (moved.low, moved.high) == pytest.approx((base.low + 7, base.high + 7), abs=1e-6)


def test_a_large_sample_has_the_normal_interval():
    deltas = np.random.default_rng(0).normal(3.0, 2.0, 400)
    mean, low, high, _ = cluster_bootstrap(deltas)
    half = 1.96 * deltas.std() / 20
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.04 * 2 * half)


@pytest.mark.parametrize("deltas", [[], [float("nan")], [[1.0]]])
def test_input_that_has_no_mean_is_refused(deltas):
    with pytest.raises(ValueError, match="non-empty sequence of finite"):
        cluster_bootstrap(deltas)


def test_a_method_with_a_missing_benchmark_is_not_compared():
    whole = {"a": 0.0, "b": 1.0}
    scores = {"zppo": {"a": 1.0, "b": 2.0}, "grpo": {"a": 0.0}, "grpo_replay": whole, "base": whole}
    found = comparisons(scores, ("grpo", "grpo_replay"), seed=0)
    assert set(found) == {"zppo-grpo_replay"}  # and no best, since not all are there
    assert set(comparisons(scores, ("grpo_replay",), seed=0)) == {
        "zppo-grpo_replay",
        "zppo-best_non_zppo",
    }
    assert comparisons({"grpo": {"a": 1.0}}, ("grpo",), seed=0) == {}
