"""Rows end to end with explicit bounds: kernels that cannot look over a bound.

transformers' packed path for Qwen3.5 leaks between samples where its CUDA kernels are missing. Here
the bounds go to every kernel that mixes positions: convolution, delta rule and attention. On CUDA
the first two are flash-linear-attention's; `REFERENCE` is the same in plain torch, by which the
tests prove the packing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from zppo_core.models.qwen3_5.gated_delta import gated_delta, working_dtype


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

    @cached_property
    def place(self) -> torch.Tensor:
        """Each token's position within its own sequence, (tokens,)."""
        return torch.cat([torch.arange(n) for n in self.lengths]).to(self.starts.device)

    @cached_property
    def long_starts(self) -> torch.Tensor:
        """`starts` in int64, as flash-linear-attention takes them."""
        return self.starts.long()

    def last(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens of each sequence's last `count` places and which exist, (sequences, count)."""
        back = torch.arange(-count, 0, device=self.starts.device)
        index = self.long_starts[1:].unsqueeze(1) + back
        return index.clamp_min(0), index >= self.long_starts[:-1].unsqueeze(1)


# (x (1, tokens, channels), weight (channels, K), bounds, tails (sequences, K - 1, channels) or
# None) -> silu of the convolution, like x
Convolution = Callable[
    [torch.Tensor, torch.Tensor, Bounds, torch.Tensor | None],
    torch.Tensor,
]
# (q, k, v, g, beta, bounds, states or None) -> (out like v, final states (sequences, heads, K, V));
# q, k (1, tokens, key heads, K); v (1, tokens, heads, V); g, beta (1, tokens, heads)
Delta = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class PackedKernels:
    """The two kernels that must honour bounds and go on from a state, and what they are called."""

    name: str
    convolution: Convolution
    delta: Delta


def bounded_conv(
    x: torch.Tensor, weight: torch.Tensor, bounds: Bounds, tails: torch.Tensor | None
) -> torch.Tensor:
    """Causal depthwise convolution of a packed row and its silu, sequences going on from `tails`.

    x (1, tokens, channels); weight (channels, K); tails (sequences, K - 1, channels); None: zeros.
    """
    rows = x[0].split(list(bounds.lengths))
    width = weight.shape[-1]
    if tails is None:
        tails = x.new_zeros(len(rows), width - 1, x.shape[-1])
    out = []
    for row, tail in zip(rows, tails.unbind(), strict=True):
        window = torch.cat([tail, row]).T.unsqueeze(0)
        out.append(F.conv1d(window, weight.unsqueeze(1), None, groups=x.shape[-1])[0].T)
    return F.silu(torch.cat(out).unsqueeze(0))


def _reference_delta(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    bounds: Bounds,
    states: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    times = v.shape[2] // q.shape[2]
    q, k = (t.repeat_interleave(times, dim=2) for t in (q, k))
    if states is None:
        shape = (len(bounds.lengths), q.shape[2], q.shape[3], v.shape[3])
        states = q.new_zeros(shape, dtype=working_dtype(q.dtype))
    split = [t.split(list(bounds.lengths), dim=1) for t in (q, k, v, g, beta)]
    done = [
        gated_delta(a, b, c, d, e, state)
        for a, b, c, d, e, state in zip(*split, states.split(1), strict=True)
    ]
    return torch.cat([out for out, _ in done], dim=1), torch.cat([final for _, final in done])


REFERENCE = PackedKernels("torch, sequence by sequence", bounded_conv, _reference_delta)


def cuda_kernels() -> PackedKernels | None:
    """flash-linear-attention's convolution and delta rule, by bounds; None where it is missing."""
    try:
        from fla.modules.causal_conv1d import causal_conv1d
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    except ImportError:
        return None

    def convolution(
        x: torch.Tensor, weight: torch.Tensor, bounds: Bounds, tails: torch.Tensor | None
    ) -> torch.Tensor:
        # its state is as wide as the kernel; the oldest place is never read
        state = None if tails is None else F.pad(tails.transpose(1, 2), (1, 0)).contiguous()
        out: torch.Tensor = causal_conv1d(
            x, weight, initial_state=state, activation="silu", cu_seqlens=bounds.long_starts
        )[0]
        return out

    def delta(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        beta: torch.Tensor,
        bounds: Bounds,
        states: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out, final = chunk_gated_delta_rule(
            q,
            k,
            v,
            g=g.float(),
            beta=beta,
            initial_state=None if states is None else states.float(),
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
            cu_seqlens=bounds.long_starts,
        )
        return out, final

    return PackedKernels("flash-linear-attention", convolution, delta)
