"""Tensors in memory that forks of this process share: whoever writes there is read by all."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LINE = 64  # bytes: torch's own tensors begin at multiples of it


def shared_like(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """A tensor in shared memory for each, of its type, shape and strides; what it holds is open.

    They live as long as any of them. No file has them: /dev/shm may be as small as it will.
    """
    sizes = [_extent(t) * t.element_size() for t in tensors]
    ends = list(accumulate(-(-size // LINE) * LINE for size in sizes))
    memory = torch.frombuffer(mmap.mmap(-1, max([LINE, *ends])), dtype=torch.uint8)
    return [
        memory[begin : begin + size].view(t.dtype).as_strided(t.shape, t.stride())
        for t, size, begin in zip(tensors, sizes, [0, *ends], strict=False)
    ]


def _extent(tensor: torch.Tensor) -> int:
    """Elements from the tensor's first to its last, those between its rows included."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))


def share(model: PreTrainedModel) -> None:
    """Move the model's parameters and buffers to shared memory; each stays the object that it is.

    What is written into them afterwards, forks of this process see.
    """
    tensors = [*model.parameters(), *model.buffers()]
    with torch.no_grad():
        for tensor, place in zip(tensors, shared_like(tensors), strict=True):
            place.copy_(tensor)
            tensor.data = place
