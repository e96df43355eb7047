"""What crosses the seam to the trainer: groups with per-token weights, and what an update did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zppo_core.types import EncodedPrompt, Group, Kind


@dataclass(frozen=True, eq=False)
class Suffix:
    """One response after the group's prompt; every array has one entry a response token (T,).

    `mask_T` is true where the current student sampled the token: only there is a gradient.
    `weights_T` are advantages. `old_logp_T` None: the current log-probabilities are the old ones.
    `given`: nobody sampled it from the student, and `sampler_logp_T` says nothing.
    """

    token_ids_T: np.ndarray
    mask_T: np.ndarray
    weights_T: np.ndarray
    sampler_logp_T: np.ndarray
    old_logp_T: np.ndarray | None = None
    given: bool = False


@dataclass(frozen=True, eq=False)
class TrainGroup:
    """One prompt, encoded once, and the responses to learn from.

    `evidence` is the prompt that a student who teaches itself reads in the place of `prompt`.
    """

    uid: str
    kind: Kind
    prompt: EncodedPrompt
    suffixes: tuple[Suffix, ...]
    evidence: EncodedPrompt | None = None

    @property
    def informed(self) -> TrainGroup:
        """The group after its evidence; ValueError if it has none."""
        if self.evidence is None:
            raise ValueError(f"group {self.uid} has no evidence")
        return replace(self, prompt=self.evidence)

    def with_old_logp(self, old: Sequence[np.ndarray]) -> TrainGroup:
        """The group with the log-probabilities (T,) before the first of the I updates."""
        pairs = zip(self.suffixes, old, strict=True)
        return replace(self, suffixes=tuple(replace(s, old_logp_T=o) for s, o in pairs))

    @property
    def tokens(self) -> int:
        """Response tokens that the student sampled."""
        return int(sum(s.mask_T.sum() for s in self.suffixes))


def to_train_group(group: Group, advantages_G: np.ndarray, encoded: EncodedPrompt) -> TrainGroup:
    """The group's completions as suffixes; forced tokens are masked out."""
    suffixes = []
    for completion, advantage in zip(group.completions, advantages_G, strict=True):
        length = len(completion.token_ids_T)
        mask_T = np.arange(length) >= completion.forced
        weights_T = np.full(length, advantage, dtype=np.float32)
        ids_T, logp_T = completion.token_ids_T, completion.logp_T
        suffixes.append(Suffix(ids_T, mask_T, weights_T, logp_T, given=completion.given))
    return TrainGroup(group.uid, group.kind, encoded, tuple(suffixes))


def given_suffix(token_ids_T: np.ndarray) -> Suffix:
    """A response to distil on: every token counts, and no policy gradient reads its weights."""
    zeros_T = np.zeros(len(token_ids_T), dtype=np.float32)
    return Suffix(token_ids_T, np.ones(len(token_ids_T), dtype=bool), zeros_T, zeros_T)


@dataclass(frozen=True)
class UpdateMetrics:
    """What one optimizer step did. Shares are of sampled tokens; times in seconds."""

    loss: float
    grad_norm: float  # before clipping
    entropy: float  # nats, mean over sampled tokens
    clip_low_share: float
    clip_high_share: float
    dual_clip_share: float
    ratio_mean: float
    tokens: int  # sampled tokens of the groups given, which all shares and means are of
    groups: int
    micro_batches: int
    computed_tokens: int  # through the model, padding and prompts included
    seconds: float
    mismatch_mean: float  # |log-prob of sampler - of trainer|, nats
    mismatch_max: float
    divisor: int = 0  # tokens that the loss is divided by: groups with equal rewards included
    skipped: bool = False  # the gradient was not finite: no step was taken, nothing moved
    sent_bytes: int = 0  # of groups, and what is told of them, to ranks in other processes

    def stepped(self, norm: float, seconds: float) -> UpdateMetrics:
        """These, of passes alone, after a step with a gradient of that norm, before clipping."""
        skipped = not math.isfinite(norm)
        return replace(self, grad_norm=norm, skipped=skipped, seconds=seconds)


NO_UPDATE = UpdateMetrics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0, 0, 0, 0, 0.0, 0.0, 0.0)


def sampler_mismatch(
    groups: Sequence[TrainGroup], scores: Sequence[Sequence[np.ndarray]]
) -> tuple[float, float]:
    """Mean and largest |log-prob of sampler - of trainer| over sampled tokens, nats; 0 if none."""
    gaps = [
        np.abs(suffix.sampler_logp_T - score)[suffix.mask_T]
        for group, row in zip(groups, scores, strict=True)
        for suffix, score in zip(group.suffixes, row, strict=True)
        if not suffix.given
    ]
    flat = np.concatenate(gaps) if gaps else np.zeros(0)
    return (float(flat.mean()), float(flat.max())) if len(flat) else (0.0, 0.0)
