"""Decoding with Qwen3.5's functional stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from zppo_core.models.qwen3_5 import hybrid
from zppo_core.types import EncodedPrompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class HybridDecoder:
    """Qwen3.5 through the functional stack, with room for the responses set aside in blocks."""

    def __init__(
        self,
        model: PreTrainedModel,
        encoded: Sequence[EncodedPrompt],
        texts: Sequence[np.ndarray],
        n: int,
        pad_id: int,
    ) -> None:
        self.text, self.head = hybrid.HybridText(model), model.get_output_embeddings()
        device = self.head.weight.device
        ids, lengths = hybrid.pad_rows([t[:-1] for t in texts], pad_id, device)
        types = torch.zeros_like(ids)
        for row, e in enumerate(encoded):
            width = min(e.length, ids.shape[1])
            types[row, :width] = torch.as_tensor(e.mm_token_type_ids_P[:width], device=device)
        pixels = [e.pixel_values for e in encoded if e.pixel_values is not None]
        grids = [e.image_grid_thw for e in encoded if e.image_grid_thw is not None]
        segment, position = self.text.embed_prompts(
            ids,
            lengths,
            types,
            torch.cat(pixels).to(device) if pixels else None,
            torch.cat(grids).to(device) if grids else None,
        )
        _, state = self.text.run(segment, None, position, want_output=False)
        owner = torch.arange(len(texts), device=device).repeat_interleave(n)
        self.state = state.rows(owner)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        ones = torch.ones_like(tokens)
        segment = self.text.continuation(tokens.unsqueeze(1), ones, self.state.position)
        hidden, self.state = self.text.run(segment, self.state, self.state.position + 1)
        logits: torch.Tensor = self.head(hidden[:, 0])
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        self.state = self.state.rows(rows)
