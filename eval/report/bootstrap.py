"""Cluster bootstrap over benchmarks, as the paper compares methods (Tables 14 and 15).

The unit that is drawn is the benchmark: a family's gain is the mean of its benchmarks' gains, and
its uncertainty is that of which benchmarks were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

OURS = "zppo"
BEST = "best_non_zppo"


class Interval(NamedTuple):
    """Mean difference, its 95 % percentile interval, and on how many benchmarks it is above 0."""

    mean: float
    low: float
    high: float
    wins: int


def cluster_bootstrap(
    deltas: Sequence[float] | np.ndarray, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """(mean, low, high, wins) of per-benchmark differences, shape (benchmarks,), in their unit.

    Benchmarks are drawn with replacement; low and high are the 2.5th and 97.5th percentiles of the
    resampled means. The draw depends on (seed, number of benchmarks) alone, so comparisons with one
    seed share it. Raises ValueError on an empty or not finite input. Section 8, Tables 14 and 15.
    """
    deltas_B = np.asarray(deltas, dtype=np.float64)
    if deltas_B.ndim != 1 or deltas_B.size == 0 or not np.isfinite(deltas_B).all():
        raise ValueError("deltas must be a non-empty sequence of finite numbers")
    if resamples < 1:
        raise ValueError("resamples must be >= 1")
    n = deltas_B.size
    # the one generator whose stream NumPy keeps for ever: published intervals must not move
    rng = np.random.RandomState(seed)
    means_R = deltas_B[rng.randint(0, n, size=(resamples, n))].mean(axis=1)
    low, high = np.percentile(means_R, [2.5, 97.5])
    return Interval(float(deltas_B.mean()), float(low), float(high), int((deltas_B > 0).sum()))


def comparisons(
    scores: Mapping[str, Mapping[str, float]],
    methods: Sequence[str],
    seed: int = 0,
    resamples: int = 10_000,
) -> dict[str, tuple[Interval, int]]:
    """`zppo-<method>` -> (interval, benchmarks) for one (scale, family).

    `scores` are by method and benchmark. `zppo-best_non_zppo` compares with the best of `methods`
    and the base by average. A method is left out unless it has a score on every benchmark that
    zppo has, and the best is left out unless all have: the best of some may not be the best.
    """
    zppo_scores = scores.get(OURS, {})
    if not zppo_scores:
        return {}
    names = sorted(zppo_scores)
    by_method = {
        m: np.array([scores[m][b] for b in names])
        for m in ("base", *methods)
        if m in scores and set(scores[m]) >= set(names)
    }
    compared = {m: by_method[m] for m in methods if m in by_method}
    if len(by_method) == len(methods) + 1:
        compared[BEST] = by_method[max(by_method, key=lambda m: float(by_method[m].mean()))]
    zppo_B = np.array([zppo_scores[b] for b in names])
    return {
        f"{OURS}-{method}": (cluster_bootstrap(zppo_B - theirs_B, resamples, seed), len(names))
        for method, theirs_B in compared.items()
    }
