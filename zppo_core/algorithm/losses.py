"""Losses as per-token components: the trainer sums them over the sampled tokens of a mini-batch.

The clipped surrogate of section 4 (clip-higher and dual clip), the divergence of section 7, and
those of rivals (docs/methods.md#rivals). A loss of one's own is a function of the same two
arguments, named `package.module:function`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch

from zppo_core.config import LossConfig
from zppo_core.config.methods import find_loss
from zppo_core.errors import UserError
from zppo_core.extensions import imported, is_outside


class Tokens(Protocol):
    """The sampled tokens of a micro-batch, flat (N,); log-probabilities and entropy in nats."""

    @property
    def logp(self) -> torch.Tensor:
        """By the current weights; carries the gradient."""
        ...

    @property
    def old_logp(self) -> torch.Tensor:
        """By the weights before the first of the I updates."""
        ...

    @property
    def sampler_logp(self) -> torch.Tensor:
        """As the engine sampled it."""
        ...

    @property
    def advantages(self) -> torch.Tensor:
        """Of the response that the token belongs to (section 3)."""
        ...

    @property
    def lengths(self) -> list[int]:
        """How many of the tokens belong to each response; responses stand one after the other."""
        ...

    @property
    def given(self) -> torch.Tensor:
        """Whether the token is of a demonstration, which the student did not sample; (N,) bool."""
        ...

    @property
    def entropy(self) -> torch.Tensor:
        """Of the student's distribution; carries no gradient."""
        ...

    @property
    def divergence(self) -> torch.Tensor:
        """Jensen-Shannon divergence to the teacher; carries the gradient.

        UserError where the teacher's weights are not beside the student's.
        """
        ...


SHAPING = 0.1  # LUFFY's gamma

Component = Callable[[Tokens, LossConfig], torch.Tensor]


def policy_loss_terms(
    logp: torch.Tensor,
    old_logp: torch.Tensor,
    advantages: torch.Tensor,
    clip_low: float = 0.20,
    clip_high: float = 0.28,
    dual_clip: float = 10.0,
) -> torch.Tensor:
    """Per-token surrogate loss, same shape as `logp` (section 4).

    max(-A ratio, -A clip(ratio, 1 - clip_low, 1 + clip_high)); where A < 0 the loss is bounded
    above by -A dual_clip. `advantages` broadcasts against `logp`; log-probabilities in nats.
    """
    ratio = torch.exp(logp - old_logp)
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    loss = torch.maximum(unclipped, clipped)
    return torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)


def surrogate(tokens: Tokens, settings: LossConfig) -> torch.Tensor:
    """The clipped surrogate of each token (section 4), weighted by the sampler's staleness.

    `settings.importance_cap` truncates the ratio of the old log-probability to the sampler's; 0 is
    no such weight.
    """
    s = settings
    terms = policy_loss_terms(
        tokens.logp, tokens.old_logp, tokens.advantages, s.clip_low, s.clip_high, s.dual_clip
    )
    if s.importance_cap > 0:
        terms = terms * (tokens.old_logp - tokens.sampler_logp).exp().clamp(max=s.importance_cap)
    return terms


def divergence(tokens: Tokens, settings: LossConfig) -> torch.Tensor:
    """The Jensen-Shannon divergence of each token to the teacher (section 7)."""
    return tokens.divergence


def gspo(tokens: Tokens, settings: LossConfig) -> torch.Tensor:
    """GSPO: the clipped surrogate of each response's own ratio (arXiv 2507.18071, eq. 5 and 7).

    The ratio is the geometric mean over the response's tokens; each of them has the same term.
    """
    logs = (tokens.logp - tokens.old_logp).split(tokens.lengths)
    ratio = torch.cat([part.mean().expand_as(part) for part in logs]).exp()
    clipped = ratio.clamp(1.0 - settings.clip_low, 1.0 + settings.clip_high)
    return torch.maximum(-tokens.advantages * ratio, -tokens.advantages * clipped)


def cispo(tokens: Tokens, settings: LossConfig) -> torch.Tensor:
    """CISPO: each log-probability weighted by its clipped ratio (arXiv 2506.13585, eq. 4 and 5).

    The weight carries no gradient; it has no lower bound (section 3.1).
    """
    weight = (tokens.logp.detach() - tokens.old_logp).exp().clamp(max=1.0 + settings.clip_high)
    return -weight * tokens.advantages * tokens.logp


def luffy(tokens: Tokens, settings: LossConfig) -> torch.Tensor:
    """LUFFY: the unclipped surrogate, and shaped probabilities of demonstrations.

    The other policy's probability of its own tokens counts as 1, so their ratio is the student's
    probability p, shaped as p / (p + 0.1) (arXiv 2504.14945, policy shaping).
    """
    p = tokens.logp.exp()
    ratio = (tokens.logp - tokens.old_logp).exp()
    return -tokens.advantages * torch.where(tokens.given, p / (p + SHAPING), ratio)


COMPONENTS: dict[str, Component] = {
    "surrogate": surrogate,
    "divergence": divergence,
    "gspo": gspo,
    "cispo": cispo,
    "luffy": luffy,
}


def component(name: str) -> Component:
    """The function of the loss `name`; UserError if there is none."""
    place = find_loss(name).component
    function = imported(place) if is_outside(place) else COMPONENTS[place]
    if not callable(function):
        raise UserError(f"loss {name!r}: {place} is no function of tokens and settings")
    return cast(Component, function)


def token_mean(terms: torch.Tensor, divisor: float) -> torch.Tensor:
    """Per-token losses over `divisor` tokens: a scalar tensor (section 4).

    The divisor is that of the whole mini-batch, of which `terms` may be a micro-batch.
    """
    return terms.sum() / divisor


def policy_loss(
    logp: torch.Tensor,
    old_logp: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip_low: float = 0.20,
    clip_high: float = 0.28,
    dual_clip: float = 10.0,
) -> torch.Tensor:
    """Token-level mean of the surrogate over `mask`: a scalar tensor (section 4).

    All of `logp`, `old_logp`, `mask` have one shape (any); `advantages` has it too, or one axis
    less for one value a sequence. Where the mask is off they may hold anything, infinities
    included. With no token in the mask the loss is 0.
    """
    chosen = mask.bool()
    if advantages.dim() == logp.dim() - 1:
        advantages = advantages.unsqueeze(-1)
    advantages = advantages.expand_as(logp)[chosen]
    terms = policy_loss_terms(
        logp[chosen], old_logp[chosen], advantages, clip_low, clip_high, dual_clip
    )
    return token_mean(terms, max(terms.numel(), 1))
