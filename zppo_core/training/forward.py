"""The states that predict a micro-batch's response tokens, by the way that a model's family has.

Where it has none, every response runs with its own copy of the prompt through transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.errors import UserError
from zppo_core.models.collate import right_pad
from zppo_core.models.families import Forward, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose(
    model: PreTrainedModel, mode: str, pad_id: int, checkpointing: bool, device: torch.device
) -> tuple[str, str, Forward]:
    """(mode, why, forward) for `model`; UserError where the wanted mode cannot be exact."""
    model_type = model.config.model_type
    forward = family_of(model_type).forward(model, mode, pad_id, checkpointing, device)
    if forward is not None:
        return forward
    if mode in ("packed", "shared_prefix"):
        raise UserError(
            f"trainer.mode={mode} knows Qwen3.5 alone, not {model_type}; use trainer.mode=padded"
        )
    why = f"{model_type} trains by transformers' own forward pass"
    return "padded", why, PaddedForeign(model, pad_id, checkpointing, device)


class PaddedForeign:
    """Padded rows through a Hugging Face model's own forward pass, whatever the model is."""

    def __init__(
        self, model: PreTrainedModel, pad_id: int, checkpointing: bool, device: torch.device
    ) -> None:
        self.model, self.pad_id, self.device = model, pad_id, device
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def __call__(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, int]:
        prompts = [g.prompt for g in groups for _ in g.suffixes]
        responses = [s.token_ids_T for g in groups for s in g.suffixes]
        batch = right_pad(prompts, responses, self.pad_id, self.device)
        hidden = self.model.model(**batch.model_inputs, use_cache=False).last_hidden_state
        return hidden[batch.response_rows, batch.response_columns - 1], batch.input_ids.numel()
