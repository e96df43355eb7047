"""Drawing tokens: a row's sample depends on its own seed and logits, not on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from zppo_core.protocols import Sampling
from zppo_core.streams import stream

BLOCK = 64  # uniforms drawn at once for a row


class RowStreams:
    """One uniform in [0, 1) for each row and token, from the stream of (prompt seed, member)."""

    def __init__(self, seeds: Sequence[tuple[int, int]]) -> None:
        self._streams = [stream(seed, "token sampling", member) for seed, member in seeds]
        self._block = np.zeros((len(seeds), BLOCK))

    def at(self, token: int, rows: np.ndarray) -> np.ndarray:
        """The uniforms of `rows` for response token `token`; tokens are asked for in order."""
        column = token % BLOCK
        if column == 0:
            for row in rows:
                self._block[row] = self._streams[row].random(BLOCK)
        uniforms: np.ndarray = self._block[rows, column]
        return uniforms


class Penalties:
    """Presence and repetition penalties as vLLM defines them: on what a row has said, the latter
    on its prompt too."""

    def __init__(
        self,
        sampling: Sampling,
        prompts: Sequence[np.ndarray],
        vocabulary: int,
        device: torch.device,
    ) -> None:
        self.presence, self.repetition = sampling.presence_penalty, sampling.repetition_penalty
        self.active = self.presence != 0.0 or self.repetition != 1.0
        rows = len(prompts) if self.active else 0
        self.sampled = torch.zeros(rows, vocabulary, dtype=torch.bool, device=device)
        self.prompted = torch.zeros_like(self.sampled)
        for row in range(rows):
            self.prompted[row, torch.as_tensor(prompts[row], device=device)] = True

    def apply(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """`logits` (rows, V) with the penalties taken off."""
        if not self.active:
            return logits
        sampled = self.sampled[rows]
        repeated = torch.where(logits > 0, logits / self.repetition, logits * self.repetition)
        logits = torch.where(sampled | self.prompted[rows], repeated, logits)
        return logits - self.presence * sampled

    def add(self, rows: torch.Tensor, tokens: torch.Tensor) -> None:
        """Note what the rows have said."""
        if self.active:
            self.sampled[rows, tokens] = True


def processed(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Log-probabilities (rows, V) after temperature, min-p, top-k and top-p, in vLLM's order."""
    if sampling.temperature not in (0.0, 1.0):
        logits = logits / sampling.temperature
    if sampling.min_p > 0:
        p = logits.softmax(-1)
        logits = logits.masked_fill(p < sampling.min_p * p.amax(-1, keepdim=True), -torch.inf)
    if 0 < sampling.top_k < logits.shape[-1]:
        bar = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < bar, -torch.inf)
    if sampling.top_p < 1:
        ordered, index = logits.sort(dim=-1, descending=True)
        p = ordered.softmax(-1)
        outside = p.cumsum(-1) - p >= sampling.top_p  # the token that crosses the bar stays
        mask = torch.zeros_like(outside).scatter(1, index, outside)
        logits = logits.masked_fill(mask, -torch.inf)
    return logits.log_softmax(-1)


def draw(logp: torch.Tensor, uniforms: np.ndarray, greedy: bool) -> torch.Tensor:
    """One token (rows,) by inverting the distribution function at each row's uniform."""
    if greedy:
        return logp.argmax(-1)
    cumulative = logp.exp().cumsum(-1)
    u = torch.as_tensor(uniforms, dtype=cumulative.dtype, device=logp.device).unsqueeze(1)
    # scaled by the sum: rounding must not leave a gap above the last token
    token = torch.searchsorted(cumulative, u * cumulative[:, -1:], right=True).squeeze(1)
    last = logp.shape[-1] - 1 - (logp > -torch.inf).flip(-1).int().argmax(-1)
    return torch.minimum(token, last)
