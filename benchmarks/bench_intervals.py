"""How often does a 95 % interval hold the truth where samples share a problem, chart or video?

    python benchmarks/bench_intervals.py [--draws 400]

Benchmarks are drawn with as many clusters as real ones have. A cluster has its own chance of being
answered right, from a beta distribution of mean 0.6, and each of its samples is right by that
chance. `correlation` is that of two samples of a cluster. `naive` takes samples as independent.
The second table compares two models of the same quality, whose chances are equal in half of the
clusters: how often the interval of the difference holds 0, and how often p is under 0.05.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.report.compare import mcnemar
from eval.scoring import totals
from eval.scoring.clusters import Clustered, Stratum
from zppo_core.streams import stream

MEAN = 0.6


@dataclass(frozen=True)
class Shape:
    """A benchmark of `clusters` of `samples` each, which are of a group each, and its total."""

    name: str
    clusters: int
    samples: int
    total: str = "pooled"

    @property
    def ids(self) -> list[tuple[str, str]]:
        """(sample, cluster), cluster by cluster."""
        places = ((g, k) for g in range(self.clusters) for k in range(self.samples))
        return [(f"{k}/{g}", str(g)) for g, k in places]


SHAPES = (
    Shape("MVerse", 788, 5),
    Shape("CharXiv", 1000, 5),
    Shape("VMME", 900, 3),
    Shape("MMMUPro", 1730, 3, "mean_of_groups"),
)


def chances(shape: Shape, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Each cluster's chance of being right, shape (clusters,)."""
    spread = (1 - correlation) / correlation if correlation else np.inf
    if np.isinf(spread):
        return np.full(shape.clusters, MEAN)
    return rng.beta(MEAN * spread, (1 - MEAN) * spread, shape.clusters)


def answers(shape: Shape, chances_G: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores of 0 and 1, shape (clusters, samples)."""
    return (rng.random((shape.clusters, shape.samples)) < chances_G[:, None]).astype(float)


def scores(shape: Shape, correlation: float, draws: int) -> dict[str, Any]:
    """Coverage of a score's interval [%], and the clustered width over the naive one."""
    held, widths = np.zeros(2), np.zeros(2)
    shared = dict(shape.ids)
    for i in range(draws):
        rng = stream(0, "intervals", shape.name, correlation, i)
        right = answers(shape, chances(shape, correlation, rng), rng)
        scored = list(zip(shared, right.ravel(), strict=True))
        for kind, clusters in enumerate((totals.NONE, shared)):
            made = totals.total(shape.total, scored, clusters)
            assert made is not None
            held[kind] += made.low <= MEAN <= made.high
            widths[kind] += made.high - made.low
    naive, clustered = 100 * held / draws
    return {
        "shape": f"{shape.name}: {shape.clusters} x {shape.samples}, {shape.total}",
        "correlation": correlation,
        "naive, % held": naive,
        "clustered, % held": clustered,
        "width, times": widths[1] / widths[0],
    }


def differences(shape: Shape, correlation: float, draws: int) -> dict[str, Any]:
    """Coverage of a paired difference's interval [%], and false alarms of McNemar's test [%]."""
    held, alarms = np.zeros(2), np.zeros(2)
    names = [cluster for _, cluster in shape.ids]
    for i in range(draws):
        rng = stream(0, "differences", shape.name, correlation, i)
        a_G = chances(shape, correlation, rng)
        b_G = np.where(rng.random(shape.clusters) < 0.5, a_G, chances(shape, correlation, rng))
        gaps = answers(shape, a_G, rng) - answers(shape, b_G, rng)
        alone = [sample for sample, _ in shape.ids]
        nets = gaps.astype(int).ravel(), gaps.astype(int).sum(1)
        for kind, clusters in enumerate((alone, names)):
            table = Clustered.of([Stratum(gaps.ravel(), clusters, 1.0)])
            low, high = table.interval(rng)
            held[kind] += low <= 0 <= high
            alarms[kind] += mcnemar(nets[kind].tolist()) < 0.05
    return {
        "shape": f"{shape.name}: {shape.clusters} x {shape.samples}",
        "correlation": correlation,
        "naive, % held": 100 * held[0] / draws,
        "clustered, % held": 100 * held[1] / draws,
        "naive, % p < 0.05": 100 * alarms[0] / draws,
        "clustered, % p < 0.05": 100 * alarms[1] / draws,
    }


def main() -> None:
    from common import record

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    settings = {"draws": draws, "mean": MEAN}
    rows = [scores(shape, c, draws) for shape in SHAPES for c in (0.0, 0.2, 0.5)]
    record("bench_intervals", settings, rows)
    print()
    rows = [differences(shape, c, draws) for shape in SHAPES[:3:2] for c in (0.2, 0.5)]
    record("bench_intervals", settings, rows)


if __name__ == "__main__":
    main()
