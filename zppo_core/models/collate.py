"""Right-padded batches of prompts with responses, for a plain forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zppo_core.types import EncodedPrompt


@dataclass(frozen=True, eq=False)
class PaddedBatch:
    """Rows of prompt + response; (rows, columns) index every response token in order."""

    input_ids: torch.Tensor  # (rows, length)
    model_inputs: dict[str, Any]
    response_rows: torch.Tensor
    response_columns: torch.Tensor


def right_pad(
    prompts: Sequence[EncodedPrompt],
    responses: Sequence[np.ndarray],
    pad_id: int,
    device: str | torch.device = "cpu",
) -> PaddedBatch:
    """Batch row i is prompts[i] followed by responses[i]; images in row order."""
    lengths = [p.length + len(r) for p, r in zip(prompts, responses, strict=True)]
    shape = (len(prompts), max(lengths))
    ids = np.full(shape, pad_id, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    rows: list[int] = []
    columns: list[int] = []
    for i, (prompt, response_T) in enumerate(zip(prompts, responses, strict=True)):
        p, end = prompt.length, lengths[i]
        ids[i, :p], ids[i, p:end] = prompt.input_ids_P, response_T
        types[i, :p], mask[i, :end] = prompt.mm_token_type_ids_P, 1
        rows += [i] * (end - p)
        columns += range(p, end)
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(mask).to(device),
    }
    pixels = [p.pixel_values for p in prompts if p.pixel_values is not None]
    grids = [p.image_grid_thw for p in prompts if p.image_grid_thw is not None]
    if pixels:
        inputs["pixel_values"] = torch.cat(pixels).to(device)
        inputs["image_grid_thw"] = torch.cat(grids).to(device)
        inputs["mm_token_type_ids"] = torch.from_numpy(types).to(device)
    return PaddedBatch(
        inputs["input_ids"],
        inputs,
        torch.tensor(rows, device=device),
        torch.tensor(columns, device=device),
    )


def left_pad(
    prompts: Sequence[EncodedPrompt],
    texts: Sequence[np.ndarray],
    pad_id: int,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Model inputs for decoding: texts[i] begins with prompts[i]; padding stands on the left."""
    width = max(len(t) for t in texts)
    ids = np.full((len(texts), width), pad_id, dtype=np.int64)
    types, mask = np.zeros_like(ids), np.zeros_like(ids)
    for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        start = width - len(text)
        ids[i, start:], mask[i, start:] = text, 1
        types[i, start : start + prompt.length] = prompt.mm_token_type_ids_P
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(mask).to(device),
    }
    pixels = [p.pixel_values for p in prompts if p.pixel_values is not None]
    if pixels:
        grids = [p.image_grid_thw for p in prompts if p.image_grid_thw is not None]
        inputs["pixel_values"] = torch.cat(pixels).to(device)
        inputs["image_grid_thw"] = torch.cat(grids).to(device)
        inputs["mm_token_type_ids"] = torch.from_numpy(types).to(device)
    return inputs
