"""What Qwen3.5's layers do between their matrix products, as functions of tensors alone.

On a GPU these small operations take more time than the products (docs/trainer.md). They stand
apart from the layers so that a compiler can fuse each of them (`benchmarks/gpu_check.py --fused`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from zppo_core.models.qwen3_5.gated_delta import working_dtype


def centred_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Qwen3.5's zero-centred RMS norm over the last axis, in float32 or float64."""
    y = x.to(working_dtype(x.dtype))
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return (y * (1.0 + weight.to(y.dtype))).to(x.dtype)


def gated_norm(
    x: torch.Tensor, gate: torch.Tensor, weight: torch.Tensor, eps: float
) -> torch.Tensor:
    """The norm behind a gated delta layer: normalised, weighted, then gated by silu."""
    dtype = working_dtype(x.dtype)
    y = x.to(dtype)
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return (weight * y.to(x.dtype) * F.silu(gate.to(dtype))).to(x.dtype)


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up, the middle of a feed-forward block."""
    return F.silu(gate) * up


def log_decay(a: torch.Tensor, dt_bias: torch.Tensor, A_log: torch.Tensor) -> torch.Tensor:
    """g of the gated delta rule, (rows, T, heads) in float32 or float64: -exp(A_log) times a step.

    The step is softplus(a + dt_bias).
    """
    dtype = working_dtype(a.dtype)
    return -A_log.to(dtype).exp() * F.softplus(a.to(dtype) + dt_bias)


def opened(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """x where its gate is open: x * sigmoid(gate)."""
    return x * gate.sigmoid()


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding on the leading part of each head.

    x (rows, heads, T, head_dim); cos, sin (rows, 1, T, rotated width).
    """
    width = cos.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    half = torch.cat([-turned[..., width // 2 :], turned[..., : width // 2]], dim=-1)
    return torch.cat([turned * cos + half * sin, rest], dim=-1)
