"""From the samples' scores to a benchmark's one number, with its standard error and interval.

A total needs the samples' ids and scores alone (an id is "group/row" where groups matter), so
another total can be taken from stored samples at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zppo_core.streams import stream

RESAMPLES = 2000
Z95 = 1.959963985

Scored = Sequence[tuple[str, float]]  # (sample id, score)
Strata = list[list[float]]  # units of each stratum; the total is the mean of the strata's means


@dataclass(frozen=True)
class Total:
    """A score [fraction] with standard error and 95 % interval, and the units it is a mean of."""

    score: float
    stderr: float
    low: float
    high: float
    units: int


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, both ends in [0, 1]."""
    p = successes / n
    centre = p + Z95 * Z95 / (2 * n)
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95 * Z95 / (4 * n * n))
    scale = 1 + Z95 * Z95 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def group_of(sample_id: str) -> str:
    return sample_id.partition("/")[0]


def _groups(scored: Scored) -> dict[str, list[tuple[str, float]]]:
    groups: dict[str, list[tuple[str, float]]] = {}
    for sample_id, score in scored:
        groups.setdefault(group_of(sample_id), []).append((sample_id, score))
    return groups


def pooled(scored: Scored) -> Strata:
    """Every sample weighs the same."""
    return [[score for _, score in scored]]


def mean_of_groups(scored: Scored) -> Strata:
    """Every group weighs the same (categories, configs, tasks, axes)."""
    return [[score for _, score in members] for members in _groups(scored).values()]


def worst(scored: Scored) -> Strata:
    """The share of groups whose samples are all right (DynaMath's worst case)."""
    return [[min(score for _, score in members) for members in _groups(scored).values()]]


def half_or_more(scored: Scored) -> Strata:
    """The share of samples that score at least one half (MM-Vet as the paper seems to count)."""
    return [[float(score >= 0.5) for _, score in scored]]


def official(scored: Scored) -> Strata:
    """MMMU-Pro's own overall: ten options and vision, not four options."""
    groups = ("standard (10 options)", "vision")
    return mean_of_groups([s for s in scored if group_of(s[0]) in groups])


def wemath(scored: Scored, strict: bool) -> Strata:
    """We-Math's score of composite problems: 1 mastered, 1/2 if only the whole is wrong, else 0.

    Rote (the whole right, steps wrong) scores 0: any wrong step if `strict`, else all of them.
    """
    units = []
    for members in _groups(scored).values():
        parts = {sample_id.partition("/")[2]: score for sample_id, score in members}
        steps = [score for key, score in parts.items() if not key.endswith("multi")]
        whole = [score for key, score in parts.items() if key.endswith("multi")]
        if not steps or not whole:
            continue  # a step that belongs to no composite problem
        if whole[0] == 0:
            units.append(0.5 if all(steps) else 0.0)
        else:
            rote = not all(steps) if strict else not any(steps)
            units.append(0.0 if rote else 1.0)
    return [units]


_TOTALS: dict[str, Callable[[Scored], Strata]] = {
    "pooled": pooled,
    "mean_of_groups": mean_of_groups,
    "worst": worst,
    "half_or_more": half_or_more,
    "official": official,
    "wemath_strict": lambda scored: wemath(scored, strict=True),
    "wemath_loose": lambda scored: wemath(scored, strict=False),
}


def strata(name: str, scored: Scored) -> Strata:
    """The strata of the total `name`; "only:<group>" pools one group. KeyError if unknown."""
    kind, colon, group = name.partition(":")
    if colon and kind == "only":
        return [[score for sample_id, score in scored if group_of(sample_id) == group]]
    return _TOTALS[name](scored)


def total(name: str, scored: Scored) -> Total | None:
    """The total `name` over `scored`; None if it has no unit there.

    The interval is Wilson's for a share of one stratum, else the percentile bootstrap's: 2,000
    resamples within each stratum, fixed seed.
    """
    parts = [np.asarray(units, dtype=np.float64) for units in strata(name, scored) if units]
    if not parts:
        return None
    score = float(np.mean([p.mean() for p in parts]))
    # a stratum of one unit says nothing about its spread
    errors = [p.var(ddof=1) / len(p) if len(p) > 1 else 0.0 for p in parts]
    stderr = math.sqrt(sum(errors)) / len(parts)
    if len(parts) == 1 and np.isin(parts[0], (0.0, 1.0)).all():
        low, high = wilson(float(parts[0].sum()), len(parts[0]))
    else:
        low, high = _bootstrap(parts)
    return Total(score, stderr, low, high, sum(len(p) for p in parts))


def _bootstrap(parts: list[np.ndarray]) -> tuple[float, float]:
    rng = stream(0, "evaluation interval")
    means_R = np.zeros(RESAMPLES)
    for part in parts:
        n = len(part)
        # in slices: the resamples of 14,000 samples would not fit in memory at once
        at_once = max(1, 4_000_000 // n)
        for start in range(0, RESAMPLES, at_once):
            stop = min(start + at_once, RESAMPLES)
            drawn = part[rng.integers(0, n, (stop - start, n))]
            means_R[start:stop] += drawn.mean(axis=1) / len(parts)
    low, high = np.quantile(means_R, (0.025, 0.975))
    return float(low), float(high)
