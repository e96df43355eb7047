"""What Qwen3.5's layers do between their matrix products, as functions of tensors alone.

On a GPU these small operations took more time than the products (docs/trainer.md). There each of
them is compiled into one kernel or two.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from zppo_core.models.fused import fused
from zppo_core.models.qwen3_5.gated_delta import working_dtype


@fused
def centred_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Qwen3.5's zero-centred RMS norm over the last axis, in float32 or float64."""
    if x.dtype != working_dtype(x.dtype):
        narrow: torch.Tensor = _NarrowNorm.apply(x, weight, eps)
        return narrow
    y = x.to(working_dtype(x.dtype))
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return (y * (1.0 + weight.to(y.dtype))).to(x.dtype)


class _NarrowNorm(torch.autograd.Function):
    """`centred_norm` of half precision: kept as it is, and widened by the kernels that read it.

    Autograd would keep and pass on float32 copies: 200 bytes an element, with this gradient 76.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.rsqrt(length.square() / x.shape[-1] + eps)
        gain = 1.0 + weight.float()  # kept, as a sharded weight may be gone by then
        ctx.save_for_backward(x, gain, scale)
        ctx.weight_dtype = weight.dtype
        return torch.mul(x * scale, gain, out=torch.empty_like(x))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, gain, scale = ctx.saved_tensors
        unit = x * scale
        along = grad * unit
        grad_weight = along.flatten(0, -2).sum(0).to(ctx.weight_dtype)
        mean = (along @ gain).unsqueeze(-1) / x.shape[-1]
        pull = torch.addcmul(grad * gain, unit, mean, value=-1.0)
        return torch.mul(pull, scale, out=torch.empty_like(x)), grad_weight, None


@fused
def gated_norm(
    x: torch.Tensor, gate: torch.Tensor, weight: torch.Tensor, eps: float
) -> torch.Tensor:
    """The norm behind a gated delta layer: normalised, weighted, then gated by silu."""
    if x.dtype == gate.dtype != working_dtype(x.dtype):
        narrow: torch.Tensor = _NarrowGatedNorm.apply(x, gate, weight, eps)
        return narrow
    dtype = working_dtype(x.dtype)
    y = x.to(dtype)
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return (weight * y.to(x.dtype) * F.silu(gate.to(dtype))).to(x.dtype)


class _NarrowGatedNorm(torch.autograd.Function):
    """`gated_norm` of half precision, like `_NarrowNorm`; rounded once, at its end."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gate: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> torch.Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.rsqrt(length.square() / x.shape[-1] + eps)
        gain = weight.to(torch.float32, copy=True)
        ctx.save_for_backward(x, gate, gain, scale)
        ctx.weight_dtype = weight.dtype
        opened = (x * scale).mul_(F.silu(gate.float()))
        return torch.mul(opened, gain, out=torch.empty_like(x))

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        x, gate, gain, scale = ctx.saved_tensors
        unit, wide = x * scale, gate.float()
        opening = F.silu(wide)
        along = grad * unit
        grad_gate = torch.ops.aten.silu_backward(along * gain, wide).to(gate.dtype)
        along.mul_(opening)
        grad_weight = along.flatten(0, -2).sum(0).to(ctx.weight_dtype)
        mean = (along @ gain).unsqueeze(-1) / x.shape[-1]
        pull = torch.addcmul(opening.mul_(grad).mul_(gain), unit, mean, value=-1.0)
        return torch.mul(pull, scale, out=torch.empty_like(x)), grad_gate, grad_weight, None


@fused
def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up, the middle of a feed-forward block."""
    return F.silu(gate) * up


@fused
def log_decay(a: torch.Tensor, dt_bias: torch.Tensor, A_log: torch.Tensor) -> torch.Tensor:
    """g of the gated delta rule, (rows, T, heads) in float32 or float64: -exp(A_log) times a step.

    The step is softplus(a + dt_bias).
    """
    dtype = working_dtype(a.dtype)
    return -A_log.to(dtype).exp() * F.softplus(a.to(dtype) + dt_bias)


@fused
def opened(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """x where its gate is open: x * sigmoid(gate)."""
    return x * gate.sigmoid()


@fused
def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding on the leading part of each head.

    x (rows, heads, T, head_dim); cos, sin (rows, 1, T, rotated width).
    """
    width = cos.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    half = torch.cat([-turned[..., width // 2 :], turned[..., : width // 2]], dim=-1)
    return torch.cat([turned * cos + half * sin, rest], dim=-1)
