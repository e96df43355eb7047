"""Qwen3.5's three ways to the states that predict a micro-batch's response tokens.

`packed` runs a group's prompt once and its responses from the state that the prompt left, all rows
end to end; it needs CUDA kernels that honour sequence bounds. `shared_prefix` is the same on padded
rows, for CPUs, where a batch of short rows is faster than a loop over them. `padded` runs every
response with its own copy of the prompt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.errors import UserError
from zppo_core.models.families import Forward
from zppo_core.models.qwen3_5 import hybrid
from zppo_core.models.qwen3_5.packing import Bounds, PackedKernels, cuda_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose(
    model: PreTrainedModel, mode: str, pad_id: int, checkpointing: bool, device: torch.device
) -> tuple[str, str, Forward]:
    """(mode, why, forward) for `model`; UserError where the wanted mode cannot be exact."""
    if mode == "packed" and device.type != "cuda":
        raise UserError(
            "trainer.mode=packed needs a GPU: on a CPU its sequences would run one by one; "
            "use trainer.mode=shared_prefix"
        )
    text = hybrid.HybridText(model, checkpointing)
    kernels = cuda_kernels() if device.type == "cuda" else None
    if mode == "packed" and kernels is None:
        raise UserError(
            "trainer.mode=packed needs kernels that honour sequence bounds; install "
            "flash-linear-attention, or use trainer.mode=shared_prefix"
        )
    if mode in ("packed", "auto") and kernels is not None:
        return "packed", f"Qwen3.5 with {kernels.name}", Packed(text, pad_id, device, kernels)
    if mode == "padded":
        return "padded", "asked for", Padded(text, pad_id, device)
    return (
        "shared_prefix",
        f"Qwen3.5 with {text.kernel_name} kernels",
        SharedPrefix(text, pad_id, device),
    )


def prompt_tensors(
    groups: Sequence[TrainGroup],
    rows: Sequence[np.ndarray],
    pad_id: int,
    device: torch.device,
    copies: Sequence[int],
) -> dict[str, Any]:
    """`rows` of tokens that begin with the groups' prompts, with images `copies` times each."""
    ids, lengths = hybrid.pad_rows(rows, pad_id, device)
    pixels, grids = [], []
    types = torch.zeros_like(ids)
    row = 0
    for group, n in zip(groups, copies, strict=True):
        p = group.prompt
        kinds = torch.as_tensor(p.mm_token_type_ids_P, device=device)
        for _ in range(n):
            width = min(p.length, len(rows[row]))
            types[row, :width] = kinds[:width]
            row += 1
            if p.pixel_values is not None and p.image_grid_thw is not None:
                pixels.append(p.pixel_values)
                grids.append(p.image_grid_thw)
    return {
        "input_ids": ids,
        "lengths": lengths,
        "types": types,
        "pixels": torch.cat(pixels).to(device) if pixels else None,
        "grids": torch.cat(grids).to(device) if grids else None,
    }


class HybridForward(ABC):
    """A pass over the text stack `text`, whose layers an update of many processes gathers."""

    def __init__(self, text: hybrid.HybridText, pad_id: int, device: torch.device) -> None:
        self.text, self.pad_id, self.device = text, pad_id, device

    @abstractmethod
    def __call__(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, int]:
        """See `models.families.Forward`."""


class SharedPrefix(HybridForward):
    """One pass over each prompt, then its responses from the prompt's state, gradients through it.

    The prompt's last token is run with the responses: it predicts their first tokens, and what the
    prompt pass leaves is then state alone.
    """

    def __call__(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, int]:
        bodies = [g.prompt.input_ids_P[:-1] for g in groups]
        tensors = prompt_tensors(groups, bodies, self.pad_id, self.device, [1] * len(groups))
        prompt, next_position = self.text.embed_prompts(**tensors)
        _, state = self.text.run(prompt, None, next_position, want_output=False)
        owner = [i for i, g in enumerate(groups) for _ in g.suffixes]
        rows = [
            np.concatenate([g.prompt.input_ids_P[-1:], s.token_ids_T[:-1]])
            for g in groups
            for s in g.suffixes
        ]
        ids, lengths = hybrid.pad_rows(rows, self.pad_id, self.device)
        members = state.rows(torch.tensor(owner, device=self.device))
        suffix = self.text.continuation(ids, lengths, members.position)
        hidden, _ = self.text.run(suffix, members, members.position + lengths)
        return hidden[suffix.real], tensors["input_ids"].numel() + ids.numel()


class Padded(HybridForward):
    """Every response with its own copy of the prompt, by the same kernels as `SharedPrefix`."""

    def __call__(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, int]:
        segment, first = padded_rows(groups, self.pad_id, self.device, self.text)
        hidden, _ = self.text.run(segment, None, segment.lengths)  # nothing goes on after these
        steps = torch.arange(hidden.shape[1], device=self.device)
        return hidden[segment.real & (steps >= first)], segment.real.numel()


def padded_rows(
    groups: Sequence[TrainGroup], pad_id: int, device: torch.device, text: hybrid.HybridText
) -> tuple[hybrid.Segment, torch.Tensor]:
    """Each response after its own copy of the prompt; where it is first predicted (rows, 1).

    The last response token predicts nothing and is left out.
    """
    rows = [
        np.concatenate([g.prompt.input_ids_P, s.token_ids_T[:-1]])
        for g in groups
        for s in g.suffixes
    ]
    copies = [len(g.suffixes) for g in groups]
    segment, _ = text.embed_prompts(**prompt_tensors(groups, rows, pad_id, device, copies))
    first = [g.prompt.length - 1 for g in groups for _ in g.suffixes]
    return segment, torch.tensor(first, device=device).unsqueeze(1)


class Packed(HybridForward):
    """`SharedPrefix` without padding: prompts end to end in one row, responses in another.

    The bounds go to every kernel; each response goes on from the state of its own prompt.
    """

    def __init__(
        self, text: hybrid.HybridText, pad_id: int, device: torch.device, kernels: PackedKernels
    ) -> None:
        super().__init__(text, pad_id, device)
        self.kernels = kernels

    def __call__(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, int]:
        bodies = [g.prompt.input_ids_P[:-1] for g in groups]
        if not all(len(body) for body in bodies):
            raise ValueError("a prompt needs two tokens at least")
        tensors = prompt_tensors(groups, bodies, self.pad_id, self.device, [1] * len(groups))
        padded, next_position = self.text.embed_prompts(**tensors)
        real, prompts = padded.real, Bounds.of([len(body) for body in bodies], self.device)
        packed = self._row(padded.embeddings[real], padded.positions[:, real])
        _, layers = self.text.run_packed(packed, prompts, self.kernels, want_output=False)

        rows = [
            np.concatenate([g.prompt.input_ids_P[-1:], s.token_ids_T[:-1]])
            for g in groups
            for s in g.suffixes
        ]
        bounds = Bounds.of([len(row) for row in rows], self.device)
        sizes = [sum(len(s.token_ids_T) for s in g.suffixes) for g in groups]
        owner = torch.tensor([i for i, g in enumerate(groups) for _ in g.suffixes])
        link = hybrid.Link(layers, owner.to(self.device), prompts, Bounds.of(sizes, self.device))
        ids = torch.as_tensor(np.concatenate(rows), dtype=torch.long, device=self.device)
        first = next_position[link.owner].repeat_interleave(
            torch.tensor(bounds.lengths, device=self.device)
        )
        embedded = self._row(self.text.text.embed_tokens(ids), (first + bounds.place).expand(3, -1))
        hidden, _ = self.text.run_packed(embedded, bounds, self.kernels, link)
        return hidden[0], int(sum(prompts.lengths) + sum(bounds.lengths))

    def _row(self, embeddings: torch.Tensor, positions: torch.Tensor) -> hybrid.Segment:
        """One row of (tokens, hidden) embeddings at (3, tokens) positions."""
        length = torch.tensor([len(embeddings)], device=self.device)
        return hybrid.Segment(embeddings.unsqueeze(0), positions.unsqueeze(1), length)
