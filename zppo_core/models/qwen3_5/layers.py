"""The parts of Qwen3.5's layers as functions over a Hugging Face model's own weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from zppo_core.models.qwen3_5 import pointwise

if TYPE_CHECKING:
    from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen

# (convolution tail, recurrent state) or (keys, values)
LayerState = tuple[torch.Tensor, torch.Tensor]


def is_delta(layer: qwen.Qwen3_5DecoderLayer) -> bool:
    """Whether it is a gated delta layer; else it is one of full attention."""
    return any(name == "linear_attn" for name, _ in layer.named_children())


def feed_forward(layer: qwen.Qwen3_5DecoderLayer, hidden: torch.Tensor) -> torch.Tensor:
    """The second half of a layer."""
    mlp, x = layer.mlp, rms_norm(hidden, layer.post_attention_layernorm)
    out: torch.Tensor = hidden + mlp.down_proj(pointwise.swiglu(mlp.gate_proj(x), mlp.up_proj(x)))
    return out


def delta_heads(
    m: qwen.Qwen3_5GatedDeltaNet, convolved: torch.Tensor, repeat: bool = True
) -> tuple[torch.Tensor, ...]:
    """q, k, v (rows, T, heads, dim) of a gated delta layer from its convolution's silu.

    With `repeat` q and k have a head for each of v's.
    """
    rows, length, _ = convolved.shape
    q, k, v = convolved.split([m.key_dim, m.key_dim, m.value_dim], -1)
    q, k = (t.reshape(rows, length, m.num_k_heads, m.head_k_dim) for t in (q, k))
    v = v.reshape(rows, length, m.num_v_heads, m.head_v_dim)
    if repeat and m.num_v_heads > m.num_k_heads:
        q, k = (t.repeat_interleave(m.num_v_heads // m.num_k_heads, dim=2) for t in (q, k))
    return q, k, v


def delta_gates(m: qwen.Qwen3_5GatedDeltaNet, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """beta and g (log decay), both (rows, T, heads); the latter in float32 or float64."""
    # in this order: gradients of x are summed in the order of the operations, to the last bit
    g = pointwise.log_decay(m.in_proj_a(x), m.dt_bias, m.A_log)
    return m.in_proj_b(x).sigmoid(), g


def delta_output(m: qwen.Qwen3_5GatedDeltaNet, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """What a gated delta layer adds to the residual stream."""
    gate = m.in_proj_z(x).reshape(out.shape)
    normed = pointwise.gated_norm(out, gate, m.norm.weight, m.norm.variance_epsilon)
    projected: torch.Tensor = m.out_proj(normed.flatten(2))
    return projected


def attention_heads(
    m: qwen.Qwen3_5Attention, x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Rotated q and k, and v, (rows, heads, T, dim); the output's gate (rows, T, heads * dim)."""
    rows, length, _ = x.shape
    shape = (rows, length, -1, m.head_dim)
    q, gate = m.q_proj(x).view(rows, length, -1, 2 * m.head_dim).chunk(2, dim=-1)
    q = rotate(rms_norm(q, m.q_norm).transpose(1, 2), rotary)
    k = rotate(rms_norm(m.k_proj(x).view(shape), m.k_norm).transpose(1, 2), rotary)
    return q, k, m.v_proj(x).view(shape).transpose(1, 2), gate.flatten(2)


def attend(
    m: qwen.Qwen3_5Attention,
    x: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
    before: LayerState | None,
    needed: bool,
) -> tuple[torch.Tensor | None, LayerState]:
    """A full-attention layer over past and own keys; `mask` None means plainly causal."""
    q, k, v, gate = attention_heads(m, x, rotary)
    if before is not None:
        k, v = torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)
    if not needed:
        return None, (k, v)
    out = F.scaled_dot_product_attention(
        q,
        *whole_heads(q, k, v, mask),
        attn_mask=mask,
        is_causal=mask is None,
        scale=m.scaling,
        enable_gqa=True,
    )
    return m.o_proj(pointwise.opened(out.transpose(1, 2).flatten(2), gate)), (k, v)


def whole_heads(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values with a head for each of `q`'s, where CUDA would else form all T x T scores.

    Of its kernels none but the last resort takes both a mask and heads that are shared.
    """
    if mask is None or q.device.type == "cpu":
        return k, v
    return each_head(k, v, q.shape[1] // k.shape[1])


def each_head(k: torch.Tensor, v: torch.Tensor, times: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Heads of keys and values, each `times` times in a row."""
    return k.repeat_interleave(times, dim=1), v.repeat_interleave(times, dim=1)


def attention_mask(real: torch.Tensor, past_real: torch.Tensor | None) -> torch.Tensor | None:
    """(rows, 1, T, past + T) booleans, true where a query may look; None if causal says it all.

    Right padding needs no mask of its own within a segment: what is real never looks at it.
    """
    if past_real is None:
        return None
    rows, length = real.shape
    causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    before = past_real.unsqueeze(1).expand(rows, length, -1)
    return torch.cat([before, causal.expand(rows, -1, -1)], dim=-1).unsqueeze(1)


def rms_norm(x: torch.Tensor, module: qwen.Qwen3_5RMSNorm) -> torch.Tensor:
    """The zero-centred RMS norm of a layer's module."""
    return pointwise.centred_norm(x, module.weight, module.eps)


def rotate(x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary embedding on the leading part of each head, (rows, heads, T, head_dim)."""
    cos, sin = (t.unsqueeze(1) for t in rotary)
    return pointwise.rotated(x, cos, sin)
