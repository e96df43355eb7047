"""What a packed layer reads and writes outside its matrix products, by shape, without a GPU.

    python benchmarks/bench_pointwise.py [--shapes 0.8B,4B]

A layer runs forward and backward on the meta device, which computes nothing, in bfloat16. Counted
are operations over whole rows and the bytes of what they take and give, of a token. Convolution,
delta rule and attention are one kernel each and are left out, as are products of matrices. In
`again` is the forward pass that checkpointing repeats. Compiled, as on a GPU, there are fewer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import gpu_models
import torch
from common import record
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zppo_core.models.qwen3_5 import hybrid
from zppo_core.models.qwen3_5.packing import Bounds, PackedKernels

TOKENS = 4096
# operations that move nothing
VIEWS = ("empty", "view", "detach", "aten.t.", "transpose", "permute", "expand", "alias")
LEFT_OUT = ("mm", "addmm", "split", "slice", "select", "squeeze", "as_strided", "unbind", *VIEWS)


class Traffic(TorchDispatchMode):
    """Operations over tensors of a row's tokens, and the bytes of these tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.bytes = 0, 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if not any(word in str(function) for word in LEFT_OUT):
            tensors = [t for t in tree_leaves((args, result)) if isinstance(t, torch.Tensor)]
            moved = sum(t.nbytes for t in tensors if TOKENS in t.shape)
            self.operations += moved > 0
            self.bytes += moved
        return result


class Kernel(torch.autograd.Function):
    """One kernel whose result is shaped like its last argument."""

    @staticmethod
    def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.like = [(t.shape, t.dtype) for t in inputs]
        return torch.empty_like(inputs[-1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty(s, dtype=d, device=grad.device) for s, d in ctx.like)


def convolution(x: torch.Tensor, weight: torch.Tensor, *_: Any) -> torch.Tensor:
    return Kernel.apply(weight, x)


def delta(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    bounds: Bounds,
    states: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    heads = (len(bounds.lengths), v.shape[2], k.shape[3], v.shape[3])
    return Kernel.apply(q, k, g, beta, v), v.new_empty(heads)


def joined(q: torch.Tensor, keys: Any, *_: Any) -> torch.Tensor:
    return Kernel.apply(*tree_leaves(keys), q)


def layers(name: str) -> list[dict[str, Any]]:
    """A row for each kind of layer at the shape `name`."""
    model = gpu_models.build(name, "meta", torch.bfloat16)
    text = hybrid.HybridText(model)
    device = torch.device("meta")
    bounds = Bounds.of([TOKENS], device)
    kernels = PackedKernels("counted as one", convolution, delta)
    rows = []
    for layer in (text.text.layers[0], text.text.layers[3]):
        hidden = torch.empty(
            1, TOKENS, gpu_models.shape_of(name).hidden, dtype=torch.bfloat16, device=device
        ).requires_grad_()
        places = torch.arange(TOKENS, device=device).expand(3, 1, TOKENS)
        rotary = text.text.rotary_emb(hidden, places)
        with mock.patch.object(hybrid, "joined_attention", joined):
            with Traffic() as forward:
                out, _ = hybrid.packed_layer(
                    layer, hidden, rotary, bounds, kernels, None, None, True
                )
            with Traffic() as backward:
                out.backward(torch.empty_like(out))
        rows.append(
            {
                "shape": name,
                "layer": "delta" if hybrid.is_delta(layer) else "attention",
                "operations": 2 * forward.operations + backward.operations,
                "forward kB": forward.bytes / TOKENS / 1e3,
                "again kB": forward.bytes / TOKENS / 1e3,
                "backward kB": backward.bytes / TOKENS / 1e3,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="0.8B,4B")
    a = parser.parse_args()
    record(
        "bench_pointwise", vars(a), [row for name in a.shapes.split(",") for row in layers(name)]
    )


if __name__ == "__main__":
    main()
