"""Attention over several stretches of keys at once, joined by their log-sum-exps.

A response looks at its group's prompt, all of it, and at itself, causally. As one kernel that would
need a mask of T x (P + T); as two calls of a flash kernel it needs none. Each call gives outputs
and the log-sum-exp of its scores; the softmax over all keys is their mean weighted by exp(lse).
Backward, a flash kernel rebuilds probabilities from the log-sum-exp that it is given: handed the
joined one and the joined output, each call yields exactly its share of the gradient, so the join
itself needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zppo_core.models.qwen3_5.packing import Bounds


@dataclass(frozen=True, eq=False)
class Stretch:
    """Which keys which queries look at: sequence i of `queries` at sequence i of `keys`.

    Every query token lies in one sequence of `queries`. `causal` stretches look at themselves, up
    to each query's own place. A sequence of `keys` may be empty: it adds nothing.
    """

    queries: Bounds
    keys: Bounds
    causal: bool


def joined_attention(
    q: torch.Tensor,
    keys: Sequence[tuple[torch.Tensor, torch.Tensor]],
    stretches: Sequence[Stretch],
    scale: float,
) -> torch.Tensor:
    """One softmax over all stretches' keys; (tokens, heads, dim), like `q`.

    `keys` holds for each stretch its keys and values, (its tokens, key heads, dim); heads are a
    multiple of key heads. Every query must find a key in some stretch. Flash kernels on CUDA in
    half precision, else plain torch, sequence by sequence.
    """
    flat = [t for pair in keys for t in pair]
    if q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16):
        out: torch.Tensor = _Flash.apply(q, tuple(stretches), scale, *flat)
        return out
    return _reference(q, keys, stretches, scale)


class _Flash(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, stretches: tuple[Stretch, ...], scale: float, *flat: torch.Tensor
    ) -> torch.Tensor:
        q, flat = q.contiguous(), tuple(t.contiguous() for t in flat)
        joined: torch.Tensor | None = None
        lse: torch.Tensor | None = None
        ctx.seeds = []
        for i, s in enumerate(stretches):
            out, part, seed, unused, _ = torch.ops.aten._flash_attention_forward(
                q,
                flat[2 * i],
                flat[2 * i + 1],
                s.queries.starts,
                s.keys.starts,
                s.queries.longest,
                s.keys.longest,
                0.0,
                s.causal,
                False,
                scale=scale,
            )
            if part.shape != (q.shape[1], q.shape[0]):
                raise RuntimeError(f"this torch's flash kernel gives sums of {tuple(part.shape)}")
            # a query without keys: the kernel says +inf where the logarithm of no sum is -inf
            part = part.masked_fill(part == torch.inf, -torch.inf)
            ctx.seeds.append((seed, unused))
            if joined is None or lse is None:
                joined, lse = out, part
                continue
            both = torch.logaddexp(lse, part)
            share = (part - both).exp().T.unsqueeze(-1)
            joined = torch.lerp(joined.float(), out.float(), share).to(q.dtype)
            lse = both
        assert joined is not None
        assert lse is not None
        ctx.save_for_backward(q, joined, lse.contiguous(), *flat)
        ctx.stretches, ctx.scale = stretches, scale
        return joined

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        q, out, lse, *flat = ctx.saved_tensors
        grad = grad.contiguous()
        grad_q: torch.Tensor | None = None
        grads: list[torch.Tensor] = []
        for i, s in enumerate(ctx.stretches):
            dq, dk, dv = torch.ops.aten._flash_attention_backward(
                grad,
                q,
                flat[2 * i],
                flat[2 * i + 1],
                out,
                lse,
                s.queries.starts,
                s.keys.starts,
                s.queries.longest,
                s.keys.longest,
                0.0,
                s.causal,
                *ctx.seeds[i],
                scale=ctx.scale,
            )
            grad_q = dq if grad_q is None else grad_q + dq
            grads += [dk, dv]
        return grad_q, None, None, *grads


def _reference(
    q: torch.Tensor,
    keys: Sequence[tuple[torch.Tensor, torch.Tensor]],
    stretches: Sequence[Stretch],
    scale: float,
) -> torch.Tensor:
    outs, sums = [], []
    for (k, v), s in zip(keys, stretches, strict=True):
        pieces = [
            _scored(a, b, c, s.causal, scale)
            for a, b, c in zip(
                q.split(list(s.queries.lengths)),
                k.split(list(s.keys.lengths)),
                v.split(list(s.keys.lengths)),
                strict=True,
            )
        ]
        outs.append(torch.cat([out for out, _ in pieces]))
        sums.append(torch.cat([lse for _, lse in pieces]))
    if len(outs) == 1:
        return outs[0]
    shares = torch.stack(sums).softmax(0).unsqueeze(-1)
    return (torch.stack(outs) * shares).sum(0).to(q.dtype)


def _scored(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (T, heads, dim) of one sequence and the log-sum-exp of its scores (T, heads)."""
    if not len(k):
        return torch.zeros_like(q), q.new_full(q.shape[:2], -torch.inf)
    times = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(times, dim=1) for t in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    if causal:
        scores = scores.masked_fill(
            torch.ones(len(q), len(k), dtype=torch.bool, device=q.device).triu(1), -torch.inf
        )
    lse = scores.logsumexp(-1)
    weights = (scores - lse.unsqueeze(-1)).exp()
    return torch.einsum("hqk,khd->qhd", weights, v), lse.T
