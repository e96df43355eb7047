"""How sure a mean is, where units share a cluster: a picture, a problem, a video.

A score is a weighted mean of means (`totals.strata`). Units of one cluster are not independent, in
one stratum or in several: MMMU-Pro asks each problem once in each of its strata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
AT_ONCE = 2_000_000  # draws in memory


class Stratum(NamedTuple):
    """Units of one mean: their values, shape (units,), and the name of each one's cluster."""

    values: np.ndarray
    clusters: Sequence[str]
    weight: float


@dataclass(frozen=True, eq=False)
class Clustered:
    """Sums and counts of units, shape (clusters, strata), and the weight of each stratum's mean."""

    sums_GH: np.ndarray
    counts_GH: np.ndarray
    weights_H: np.ndarray

    @classmethod
    def of(cls, strata: Sequence[Stratum]) -> Clustered:
        """The units of `strata`, none of them empty; their order decides nothing."""
        names = np.unique([name for s in strata for name in s.clusters])
        shape = (len(names), len(strata))
        sums_GH, counts_GH = np.zeros(shape), np.zeros(shape)
        for h, s in enumerate(strata):
            places = np.searchsorted(names, s.clusters)
            sums_GH[:, h] = np.bincount(places, s.values, len(names))
            counts_GH[:, h] = np.bincount(places, minlength=len(names))
        return cls(sums_GH, counts_GH, np.array([s.weight for s in strata]))

    @property
    def clusters(self) -> int:
        return len(self.sums_GH)

    @property
    def means_H(self) -> np.ndarray:
        means: np.ndarray = self.sums_GH.sum(0) / self.counts_GH.sum(0)
        return means

    @property
    def mean(self) -> float:
        return float(np.average(self.means_H, weights=self.weights_H))

    def stderr(self) -> float:
        """The cluster-robust standard error of the weighted mean, in the unit of the values.

        CR0: its square is the sum over clusters of (sum of weighted residuals) squared, with the
        factor G / (G - 1) for the G clusters of a stratum. Where each unit is a cluster, it is the
        standard deviation over the root of n. A stratum of one cluster says nothing about its
        spread and adds none.
        """
        residuals_GH = (self.sums_GH - self.counts_GH * self.means_H) / self.counts_GH.sum(0)
        G_H = (self.counts_GH > 0).sum(0)
        factor_H = np.sqrt(G_H / np.maximum(G_H - 1, 1))
        return float(np.linalg.norm(residuals_GH @ (self.weights_H * factor_H)))

    def worth(self) -> float:
        """How many independent units of one stratum of zeros and ones have this standard error.

        Not more than there are: with few clusters the standard error may be small by chance. Where
        all are 0, or all are 1, nothing shows how alike a cluster's units are: they count as wholly
        alike.
        """
        n_G = self.counts_GH[:, 0]
        n, share, stderr = float(n_G.sum()), self.mean, self.stderr()
        if share in (0.0, 1.0):
            return float(n * n / (n_G @ n_G))
        return min(n, 1 + share * (1 - share) / stderr**2) if stderr else n

    def interval(self, rng: np.random.Generator) -> tuple[float, float]:
        """The percentile bootstrap's 95 % interval of the weighted mean."""
        low, high = np.quantile(self.resampled(rng), (0.025, 0.975))
        return float(low), float(high)

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """`RESAMPLES` weighted means, shape (resamples,), of clusters drawn with replacement.

        Clusters are drawn within a stratum, or over several that share some. One of these that has
        no unit in a draw keeps its mean.
        """
        means_R = np.zeros(RESAMPLES)
        for there_G, there_H in self._blocks():
            sums, counts = (table[there_G][:, there_H] for table in (self.sums_GH, self.counts_GH))
            G = len(sums)
            step = max(1, AT_ONCE // G)
            for start in range(0, RESAMPLES, step):
                rows = min(step, RESAMPLES - start)
                drawn = rng.integers(0, G, (rows, G)) + G * np.arange(rows)[:, None]
                times_RG = np.bincount(drawn.ravel(), minlength=rows * G).reshape(rows, G)
                n_RH = times_RG @ counts
                drawn_RH = times_RG @ sums / np.maximum(n_RH, 1)
                drawn_RH = np.where(n_RH > 0, drawn_RH, self.means_H[there_H])
                means_R[start : start + rows] += drawn_RH @ self.weights_H[there_H]
        return means_R

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(clusters, strata) that have no unit in common with others, as masks."""
        there_GH: np.ndarray = self.counts_GH > 0
        linked_HH = there_GH.T.astype(float) @ there_GH > 0
        block_H = np.arange(len(linked_HH))
        for _ in block_H:  # the smallest number goes from link to link
            block_H = np.where(linked_HH, block_H, len(block_H)).min(1)
        for block in np.unique(block_H):
            there_H: np.ndarray = block_H == block
            yield np.asarray(there_GH[:, there_H].any(1)), there_H
