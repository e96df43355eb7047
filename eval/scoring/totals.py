"""From the samples' scores to a benchmark's one number, with its standard error and interval.

A total needs the samples' ids, scores and clusters alone (an id is "group/row" where groups
matter), so another total can be taken from stored samples at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.scoring.clusters import Clustered, Stratum
from zppo_core.streams import stream

Z95 = 1.959963985

Scored = Sequence[tuple[str, float]]  # (sample id, score)
Clusters = Mapping[str, str]  # by sample id what it shares with others; not there: it stands alone
NONE: Clusters = {}
# units of each stratum, (id of a sample in it, value); the total is the mean of the strata's means
Strata = list[Scored]


@dataclass(frozen=True)
class Total:
    """A score [fraction] with standard error and 95 % interval, and the units it is a mean of.

    `clusters` says how many independent sets of units there are.
    """

    score: float
    stderr: float
    low: float
    high: float
    units: int
    clusters: int


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, both ends in [0, 1]."""
    p = successes / n
    centre = p + Z95 * Z95 / (2 * n)
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95 * Z95 / (4 * n * n))
    scale = 1 + Z95 * Z95 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def group_of(sample_id: str) -> str:
    return sample_id.partition("/")[0]


def _groups(scored: Scored) -> list[Scored]:
    groups: dict[str, list[tuple[str, float]]] = {}
    for sample_id, score in scored:
        groups.setdefault(group_of(sample_id), []).append((sample_id, score))
    return [groups[name] for name in sorted(groups)]


def pooled(scored: Scored) -> Strata:
    """Every sample weighs the same."""
    return [scored]


def mean_of_groups(scored: Scored) -> Strata:
    """Every group weighs the same (categories, configs, tasks, axes)."""
    return _groups(scored)


def worst(scored: Scored) -> Strata:
    """The share of groups whose samples are all right (DynaMath's worst case)."""
    return [[(min(members)[0], min(score for _, score in members)) for members in _groups(scored)]]


def half_or_more(scored: Scored) -> Strata:
    """The share of samples that score at least one half (MM-Vet as the paper seems to count)."""
    return [[(sample_id, float(score >= 0.5)) for sample_id, score in scored]]


def official(scored: Scored) -> Strata:
    """MMMU-Pro's own overall: ten options and vision, not four options."""
    groups = ("standard (10 options)", "vision")
    return mean_of_groups([s for s in scored if group_of(s[0]) in groups])


def wemath(scored: Scored, strict: bool) -> Strata:
    """We-Math's score of composite problems: 1 mastered, 1/2 if only the whole is wrong, else 0.

    Rote (the whole right, steps wrong) scores 0: any wrong step if `strict`, else all of them.
    """
    units = []
    for members in _groups(scored):
        parts = {sample_id.partition("/")[2]: score for sample_id, score in members}
        steps = [score for key, score in parts.items() if not key.endswith("multi")]
        whole = [score for key, score in parts.items() if key.endswith("multi")]
        if not steps or not whole:
            continue  # a step that belongs to no composite problem
        if whole[0] == 0:
            value = 0.5 if all(steps) else 0.0
        else:
            rote = not all(steps) if strict else not any(steps)
            value = 0.0 if rote else 1.0
        units.append((min(members)[0], value))
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
        return [[s for s in scored if group_of(s[0]) == group]]
    return _TOTALS[name](scored)


def units_of(name: str, scored: Scored, clusters: Clusters) -> list[Stratum]:
    """The units of the total `name` over `scored`, by stratum; empty if it has none there."""
    parts = [units for units in strata(name, scored) if units]
    return [
        Stratum(
            np.array([value for _, value in units]),
            [clusters.get(sample_id, sample_id) for sample_id, _ in units],
            1 / len(parts),
        )
        for units in parts
    ]


def total(name: str, scored: Scored, clusters: Clusters = NONE) -> Total | None:
    """The total `name` over `scored`; None if it has no unit there.

    The interval is Wilson's for a share of one stratum, of as many independent units as its
    clusters are worth. Else it is the percentile bootstrap's: 2,000 resamples of clusters, fixed
    seed.
    """
    units = units_of(name, scored, clusters)
    if not units:
        return None
    table = Clustered.of(units)
    if len(units) == 1 and np.isin(units[0].values, (0.0, 1.0)).all():
        worth = table.worth()
        low, high = wilson(table.mean * worth, worth)
    else:
        low, high = table.interval(stream(0, "evaluation interval"))
    n = sum(len(stratum.values) for stratum in units)
    return Total(table.mean, table.stderr(), low, high, n, table.clusters)
