"""The clipped surrogate of section 4: clip-higher and dual clip, aggregated over tokens."""

from __future__ import annotations

import torch


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


def policy_loss(
    logp: torch.Tensor,
    old_logp: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip_low: float = 0.20,
    clip_high: float = 0.28,
    dual_clip: float = 10.0,
    tokens: float | None = None,
    importance: torch.Tensor | None = None,
) -> torch.Tensor:
    """Token-level mean of the surrogate over `mask`: a scalar tensor (section 4).

    All of `logp`, `old_logp`, `mask` have one shape (any); `advantages` has it too, or one axis
    less for one value a sequence. Where the mask is off they may hold anything, infinities
    included. `tokens` divides the sum in place of the mask's own count: those of the mini-batch,
    where this is a part of one. `importance` weights tokens. With no token in the mask the loss is
    0.
    """
    chosen = mask.bool()
    if advantages.dim() == logp.dim() - 1:
        advantages = advantages.unsqueeze(-1)
    advantages = advantages.expand_as(logp)[chosen]
    terms = policy_loss_terms(
        logp[chosen], old_logp[chosen], advantages, clip_low, clip_high, dual_clip
    )
    if importance is not None:
        terms = terms * importance[chosen]
    return terms.sum() / (max(terms.numel(), 1) if tokens is None else tokens)
