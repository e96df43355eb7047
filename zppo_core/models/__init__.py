"""Models with their renderers: Qwen3.5, the nano world, and whatever transformers loads."""

from zppo_core.models.loading import (
    context,
    load,
    load_renderer,
    mtp_weights,
    quiet,
    shape,
    weights_name,
)

__all__ = [
    "context",
    "load",
    "load_renderer",
    "mtp_weights",
    "quiet",
    "shape",
    "weights_name",
]
