"""Functions of tensors that a GPU runs as few kernels, and a CPU as they are written.

Between matrix products a GPU waits for memory and for launches: an update of 0.8B on an H100 took
2.9 s with these functions compiled and 3.4 s without (docs/trainer.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

# a function is compiled anew for each layout, rank and gradient mode of its tensors; PyTorch gives
# up at 8, which the norms of one model pass
MOST_VERSIONS = 64

P = ParamSpec("P")
T = TypeVar("T")


def fused(function: Callable[P, T]) -> Callable[P, T]:
    """`function` of a tensor and more, compiled where that first tensor lies on a GPU.

    `TORCH_COMPILE_DISABLE=1` in the environment leaves it as it is written everywhere. That
    function itself stays as `__wrapped__`.
    """

    @functools.cache
    def compiled() -> Callable[P, T]:
        import torch._dynamo  # takes a second: only where something is compiled

        config = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, MOST_VERSIONS)
        return torch.compile(function, dynamic=True)

    @functools.wraps(function)
    def chosen(*arguments: P.args, **named: P.kwargs) -> T:
        first = arguments[0]
        on_gpu = isinstance(first, torch.Tensor) and first.is_cuda
        return (compiled() if on_gpu else function)(*arguments, **named)

    return chosen
