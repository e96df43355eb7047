"""Qwen3.5 as a family: precise layers, shared prefixes, packed rows, a decoder, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zppo_core.models.families import Decoder, Family, Forward, Shape
from zppo_core.models.qwen3_5.shape import known_shapes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

    from zppo_core.types import EncodedPrompt


class Qwen35(Family):
    """Text stack and vision tower of Qwen3.5, dense."""

    name = "Qwen3.5"
    model_types = ("qwen3_5", "qwen3_5_text")

    def load(self, folder: str, images: bool, dtype: torch.dtype) -> PreTrainedModel:
        """With decays and norms in float32."""
        from zppo_core.models.qwen3_5.precise import precise_layers

        with precise_layers():
            return super().load(folder, images, dtype)

    def shapes(self) -> Mapping[str, Shape]:
        return known_shapes()

    def forward(
        self,
        model: PreTrainedModel,
        mode: str,
        pad_id: int,
        checkpointing: bool,
        device: torch.device,
    ) -> tuple[str, str, Forward] | None:
        from zppo_core.models.qwen3_5.forward import choose

        return choose(model, mode, pad_id, checkpointing, device)

    def decoder(
        self,
        model: PreTrainedModel,
        encoded: Sequence[EncodedPrompt],
        texts: Sequence[np.ndarray],
        n: int,
        pad_id: int,
    ) -> Decoder | None:
        from zppo_core.models.qwen3_5.decoder import HybridDecoder

        return HybridDecoder(model, encoded, texts, n, pad_id)


FAMILY = Qwen35()
