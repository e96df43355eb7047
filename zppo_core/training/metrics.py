"""The metrics of an update, put together from sums over its passes: the one place for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zppo_core.algorithm.train_groups import NO_UPDATE, TrainGroup, UpdateMetrics


@dataclass
class PassSums:
    """What an update's metrics are made of: sums over its passes, of one process or of all ranks.

    `values_S` are sums of loss, entropy, three clips, ratio and gap to the sampler, S = 7.
    """

    values_S: np.ndarray = field(default_factory=lambda: np.zeros(7))
    largest_gap: float = 0.0  # nats
    computed: int = 0  # tokens through the model
    passes: int = 0

    def add(self, loss: float, statistics: Sequence[float], computed: int) -> None:
        """A pass of the surrogate: its part of the loss, sums over its tokens, the largest gap."""
        self.values_S += np.array([loss, *statistics[:-1]])
        self.largest_gap = max(self.largest_gap, statistics[-1])
        self._count(computed)

    def add_divergence(self, divergence: float, entropy: float, computed: int) -> None:
        """A pass of a distillation: sums over its tokens."""
        self.values_S[:2] += np.array([divergence, entropy])
        self._count(computed)

    def _count(self, computed: int) -> None:
        self.computed += computed
        self.passes += 1

    def metrics(self, groups: Sequence[TrainGroup], divisor: int) -> UpdateMetrics:
        """The metrics of an update by the surrogate on `groups`; norm and seconds are left 0.

        `divisor` is what its loss was divided by. Means and shares are of the groups' tokens.
        """
        own = sum(g.tokens for g in groups)
        entropy, low, high, dual, ratio, gap = (self.values_S[1:] / max(own, 1)).tolist()
        return UpdateMetrics(
            loss=float(self.values_S[0]),
            grad_norm=0.0,
            entropy=entropy,
            clip_low_share=low,
            clip_high_share=high,
            dual_clip_share=dual,
            ratio_mean=ratio,
            tokens=own,
            groups=len(groups),
            micro_batches=self.passes,
            computed_tokens=self.computed,
            seconds=0.0,
            mismatch_mean=gap,
            mismatch_max=self.largest_gap,
            divisor=divisor,
        )

    def divergence_metrics(self, groups: Sequence[TrainGroup]) -> UpdateMetrics:
        """As `metrics`, of a distillation: its loss is the mean over the groups' tokens."""
        own = sum(g.tokens for g in groups)
        loss = float(self.values_S[0] / own)
        return replace(self.metrics(groups, own), loss=loss, ratio_mean=NO_UPDATE.ratio_mean)
