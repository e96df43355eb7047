"""The metrics of an update, put together from sums over its passes: the one place for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zppo_core.algorithm.train_groups import UpdateMetrics

if TYPE_CHECKING:
    import torch

STATISTICS = 7  # loss, entropy, three clipped shares, ratio, mismatch: sums over tokens


class Sums(NamedTuple):
    """What a micro-batch adds to the metrics of an update."""

    sums: tuple[float, ...]
    worst: float
    computed: int


class PartLoss(NamedTuple):
    """A micro-batch's part of the loss, and `STATISTICS` sums over its tokens for metrics.

    A plain tuple to DeepSpeed, which wraps the tensors that a module returns.
    """

    loss: torch.Tensor
    sums: tuple[float, ...]
    worst: float  # |log-prob of sampler - of trainer|, nats
    computed: int  # tokens through the models

    @property
    def told(self) -> Sums:
        """All but the loss itself, which only its own process can go back through."""
        return Sums(self.sums, self.worst, self.computed)


@dataclass
class PassSums:
    """What an update's metrics are made of: sums over its passes, of one process or of all ranks.

    `values_S` are sums of loss, entropy, three clips, ratio and mismatch, S = `STATISTICS`.
    """

    values_S: np.ndarray = field(default_factory=lambda: np.zeros(STATISTICS))
    worst: float = 0.0  # the largest mismatch of a token, nats
    computed: int = 0  # tokens through the models
    passes: int = 0

    def add(self, part: PartLoss | Sums) -> None:
        """Count a pass: its part of the loss, its sums over tokens, its worst mismatch."""
        self.values_S += part.sums
        self.worst = max(self.worst, part.worst)
        self.computed += part.computed
        self.passes += 1

    def metrics(self, groups: int, count: int, divisor: int) -> UpdateMetrics:
        """The metrics of an update on so many groups; norm and seconds are left 0.

        `divisor` is what its loss was divided by. Means and shares are of the groups' `count`
        sampled tokens.
        """
        entropy, low, high, dual, ratio, mismatch = (self.values_S[1:] / max(count, 1)).tolist()
        return UpdateMetrics(
            loss=float(self.values_S[0]),
            grad_norm=0.0,
            entropy=entropy,
            clip_low_share=low,
            clip_high_share=high,
            dual_clip_share=dual,
            ratio_mean=ratio,
            tokens=count,
            groups=groups,
            micro_batches=self.passes,
            computed_tokens=self.computed,
            seconds=0.0,
            mismatch_mean=mismatch,
            mismatch_max=self.worst,
            divisor=divisor,
        )
