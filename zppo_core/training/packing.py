"""Rows end to end with explicit bounds: kernels that cannot look over a bound.

transformers' packed path for Qwen3.5 leaks between samples where its CUDA kernels are missing. Here
the bounds go to every kernel that mixes positions: convolution, delta rule and attention. On CUDA
the latter two are flash-linear-attention's and torch's; `reference` is the same in plain torch, by
which the tests prove the packing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from zppo_core.training.gated_delta import gated_delta, working_dtype


@dataclass(frozen=True, eq=False)
class Bounds:
    """Where sequences lie in a packed row: `starts` (sequences + 1,) with the total at its end."""

    starts: torch.Tensor  # int32, on the device
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> Bounds:
        starts = torch.zeros(len(lengths) + 1, dtype=torch.int32)
        starts[1:] = torch.tensor(lengths, dtype=torch.int32).cumsum(0)
        return cls(starts.to(device), tuple(lengths))

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def place(self) -> torch.Tensor:
        """Each token's position within its own sequence, (tokens,)."""
        return torch.cat([torch.arange(n) for n in self.lengths]).to(self.starts.device)


# (q, k, v, g, beta, bounds) -> out, each (1, tokens, heads, dim); (q, k, v, bounds, scale) -> out
Delta = Callable[..., torch.Tensor]
Attention = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class PackedKernels:
    """The two kernels that must honour bounds, and what they are called."""

    name: str
    delta: Delta
    attention: Attention


def bounded_conv(x: torch.Tensor, weight: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Causal depthwise convolution of a packed row (1, tokens, channels); weight (channels, K)."""
    place, width = bounds.place(), weight.shape[-1]
    out = x * weight[:, -1]
    for back in range(1, width):
        shifted = F.pad(x, (0, 0, back, 0))[:, : x.shape[1]]
        own = (place >= back).to(x.dtype).unsqueeze(-1)
        out = out + shifted * own * weight[:, width - 1 - back]
    return out


def _reference_delta(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor,
                     beta: torch.Tensor, bounds: Bounds) -> torch.Tensor:  # fmt: skip
    shape = (1, q.shape[2], q.shape[3], v.shape[3])
    zero = q.new_zeros(shape, dtype=working_dtype(q.dtype))
    split = [t.split(list(bounds.lengths), dim=1) for t in (q, k, v, g, beta)]
    out = [gated_delta(a, b, c, d, e, zero)[0] for a, b, c, d, e in zip(*split, strict=True)]
    return torch.cat(out, dim=1)


def _reference_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bounds: Bounds,
                         scale: float) -> torch.Tensor:  # fmt: skip
    split = [t.transpose(1, 2).split(list(bounds.lengths), dim=2) for t in (q, k, v)]
    out = [
        F.scaled_dot_product_attention(a, b, c, is_causal=True, scale=scale, enable_gqa=True)
        for a, b, c in zip(*split, strict=True)
    ]
    return torch.cat(out, dim=2).transpose(1, 2)


REFERENCE = PackedKernels("torch, sequence by sequence", _reference_delta, _reference_attention)


def cuda_kernels() -> PackedKernels | None:
    """flash-linear-attention's delta rule and torch's attention, by bounds; None if one lacks."""
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None

    def delta(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor,
              beta: torch.Tensor, bounds: Bounds) -> torch.Tensor:  # fmt: skip
        out: torch.Tensor = chunk_gated_delta_rule(
            q, k, v, g=g.float(), beta=beta, use_qk_l2norm_in_kernel=True,
            cu_seqlens=bounds.starts.long(),
        )[0]  # fmt: skip
        return out

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bounds: Bounds,
                  scale: float) -> torch.Tensor:  # fmt: skip
        starts, longest = bounds.starts, bounds.longest
        causal = (-1, 0)
        out = varlen_attn(q[0], k[0], v[0], starts, starts, longest, longest, scale=scale,
                          window_size=causal, enable_gqa=True)  # fmt: skip
        assert isinstance(out, torch.Tensor)
        return out.unsqueeze(0)

    return PackedKernels("flash-linear-attention and torch's varlen", delta, attention)
