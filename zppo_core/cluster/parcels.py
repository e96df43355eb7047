"""What travels between processes: pictures as they are encoded, weights as plain arrays.

Ray keeps an object once on a node, and who reads it looks at its arrays where they lie.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.training.rank_plan import Round, Share
from zppo_core.types import EncodedPrompt

if TYPE_CHECKING:
    from zppo_core.models.renderer import Renderer

Array = tuple[str, tuple[int, ...], np.ndarray]  # type, shape, bytes (numpy has no bfloat16)
Arrays = dict[str, Array]


def packed(share: Share) -> Share:
    """The share for the way: what pixels were made of instead of them, where it is known."""

    def bare(prompt: EncodedPrompt) -> EncodedPrompt:
        return replace(prompt, pixel_values=None) if prompt.images else prompt

    return _with_prompts(share, bare)


def unpacked(share: Share, renderer: Renderer) -> Share:
    """The share with the pixels of its pictures, each made once."""

    def whole(prompt: EncodedPrompt) -> EncodedPrompt:
        if prompt.images and prompt.pixel_values is None:
            return replace(prompt, pixel_values=renderer.pixels(prompt.images))
        return prompt

    return _with_prompts(share, whole)


def _with_prompts(share: Share, change: Callable[[EncodedPrompt], EncodedPrompt]) -> Share:
    """The share with each prompt changed; parts of a group go on sharing theirs."""
    renewed: dict[int, EncodedPrompt] = {}

    def once(prompt: EncodedPrompt) -> EncodedPrompt:
        if id(prompt) not in renewed:
            renewed[id(prompt)] = change(prompt)
        return renewed[id(prompt)]

    def part(group: TrainGroup) -> TrainGroup:
        return replace(group, prompt=once(group.prompt))

    turns = [
        Round(
            [(piece, part(group)) for piece, group in turn.batch],
            turn.idle,
            None if turn.seen is None else once(turn.seen),
        )
        for turn in share.turns
    ]
    return replace(share, turns=turns)


def size_of(share: Share) -> int:
    """Bytes of a share's arrays and pictures, of each prompt once."""
    groups = [group for turn in share.turns for _, group in turn.batch]
    seen = [turn.seen for turn in share.turns if turn.seen is not None]
    prompts = {id(p): p for p in [*(g.prompt for g in groups), *seen]}
    pictures = sum(len(data) for p in prompts.values() for data in p.images)
    arrays = [
        a
        for g in groups
        for s in g.suffixes
        for a in (s.token_ids_T, s.mask_T, s.weights_T, s.sampler_logp_T, s.old_logp_T)
        if a is not None
    ]
    return pictures + sum(p.nbytes for p in prompts.values()) + sum(a.nbytes for a in arrays)


def as_arrays(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    """Tensors for the way; those of a CPU are not copied."""
    arrays = {}
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        kind = str(tensor.dtype).removeprefix("torch.")
        arrays[name] = kind, tuple(tensor.shape), flat.view(torch.uint8).numpy()
    return arrays


class Weights(Mapping[str, torch.Tensor]):
    """Tensors over arrays that lie in Ray's store: for reading alone, and not copied."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def __getitem__(self, name: str) -> torch.Tensor:
        kind, shape, flat = self.arrays[name]
        with warnings.catch_warnings():  # that nobody may write there, as nobody does
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(flat).view(getattr(torch, kind)).view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)
