"""Layers of Qwen3.5 that stay in float32 whatever a model is loaded as."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# of Qwen3.5's text stack: decays and norms lose too much in bfloat16
PRECISE = (
    "A_log",
    "dt_bias",
    "input_layernorm",
    "post_attention_layernorm",
    "q_norm",
    "k_norm",
    "linear_attn.norm",
    "language_model.norm",
)


@contextmanager
def precise_layers() -> Iterator[None]:
    """Models of the family that are loaded within keep `PRECISE` in float32."""
    from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen

    base = qwen.Qwen3_5PreTrainedModel
    before = base._keep_in_fp32_modules_strict
    base._keep_in_fp32_modules_strict = list(PRECISE)
    try:
        yield
    finally:
        base._keep_in_fp32_modules_strict = before
