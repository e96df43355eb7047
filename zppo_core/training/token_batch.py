"""The sampled tokens of a micro-batch as a loss sees them, and what is counted of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.config import LossConfig

Head = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class TokenBatch:
    """`algorithm.losses.Tokens` of some groups; N of their T response tokens were sampled.

    `policy` gives log-probability and entropy of target tokens (T,), `teacher` the divergence to
    the teacher and entropy where a mask (T,) is true. Each runs once, when a loss first asks for
    what it gives.
    """

    def __init__(
        self, groups: Sequence[TrainGroup], device: torch.device, policy: Head, teacher: Head
    ) -> None:
        self._groups, self._device = groups, device
        self._policy_head, self._teacher_head = policy, teacher
        self.mask_T = self._flat("mask_T")
        self.reads_policy = False

    def _flat(self, name: str) -> torch.Tensor:
        arrays = [getattr(s, name) for g in self._groups for s in g.suffixes]
        return torch.as_tensor(np.concatenate(arrays), device=self._device)

    @cached_property
    def _policy(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.reads_policy = True
        logp_T, entropy_T = self._policy_head(self._flat("token_ids_T").long())
        return logp_T[self.mask_T], entropy_T[self.mask_T]

    @cached_property
    def _teacher(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._teacher_head(self.mask_T)

    @property
    def logp(self) -> torch.Tensor:
        return self._policy[0]

    @property
    def divergence(self) -> torch.Tensor:
        return self._teacher[0]

    @property
    def entropy(self) -> torch.Tensor:
        from_teacher = "_teacher" in self.__dict__ and not self.reads_policy
        return self._teacher[1] if from_teacher else self._policy[1]

    @cached_property
    def old_logp(self) -> torch.Tensor:
        # with I = 1 the current log-probabilities are the old ones: the ratio is 1
        if any(s.old_logp_T is None for g in self._groups for s in g.suffixes):
            return self.logp.detach()
        return self._sampled("old_logp_T")

    @cached_property
    def sampler_logp(self) -> torch.Tensor:
        return self._sampled("sampler_logp_T")

    @cached_property
    def lengths(self) -> list[int]:
        return [int(s.mask_T.sum()) for g in self._groups for s in g.suffixes]

    @cached_property
    def given(self) -> torch.Tensor:
        flags = [s.given for g in self._groups for s in g.suffixes]
        given_S = torch.tensor(flags, device=self._device)
        return given_S.repeat_interleave(torch.tensor(self.lengths, device=self._device))

    @cached_property
    def advantages(self) -> torch.Tensor:
        return self._sampled("weights_T")

    def _sampled(self, name: str) -> torch.Tensor:
        return self._flat(name).to(self.logp.dtype)[self.mask_T]


@torch.no_grad()
def statistics(tokens: TokenBatch, settings: LossConfig) -> tuple[list[float], float]:
    """Sums over the tokens of a micro-batch for `PassSums`, without its loss; the worst mismatch.

    A loss that reads no log-probability clips nothing, and its ratios are 1.
    """
    if not tokens.reads_policy:
        entropy = tokens.entropy
        return [entropy.sum().item(), 0.0, 0.0, 0.0, float(len(entropy)), 0.0], 0.0
    weights = tokens.advantages
    ratio = (tokens.logp - tokens.old_logp).exp()
    gap = (tokens.logp - tokens.sampler_logp).abs().masked_fill(tokens.given, 0.0)
    sums = [
        tokens.entropy.sum(),
        ((weights < 0) & (ratio < 1 - settings.clip_low)).sum(),
        ((weights > 0) & (ratio > 1 + settings.clip_high)).sum(),
        ((weights < 0) & (ratio > settings.dual_clip)).sum(),
        ratio.sum(),
        gap.sum(),
    ]
    return [s.item() for s in sums], gap.max().item() if len(gap) else 0.0
