"""Groups and numbers as bytes between a step and its update workers: arrays and JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load, save

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.types import EncodedPrompt

SUFFIX = ("token_ids_T", "mask_T", "weights_T", "sampler_logp_T", "old_logp_T")


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """One message; `header` is JSON-ready."""
    text = json.dumps(header).encode()
    body = save({k: np.ascontiguousarray(v) for k, v in (arrays or {}).items()})
    return len(text).to_bytes(8, "big") + text + body


def header_of(data: bytes) -> dict[str, Any]:
    """The header of what `pack` packed."""
    found: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "big")])
    return found


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `pack` packed."""
    return header_of(data), load(data[8 + int.from_bytes(data[:8], "big") :])


def pack_groups(header: Mapping[str, Any], groups: Sequence[TrainGroup]) -> bytes:
    """A message with groups; a prompt's pictures travel once for its group."""
    arrays: dict[str, np.ndarray] = {}
    about = []
    for i, group in enumerate(groups):
        p = group.prompt
        arrays |= {f"{i}.ids": p.input_ids_P, f"{i}.types": p.mm_token_type_ids_P}
        if p.pixel_values is not None and p.image_grid_thw is not None:
            arrays |= {f"{i}.pixels": p.pixel_values.numpy(), f"{i}.grid": p.image_grid_thw.numpy()}
        for k, suffix in enumerate(group.suffixes):
            for name in SUFFIX:
                value = getattr(suffix, name)
                if value is not None:
                    arrays[f"{i}.{k}.{name}"] = value
        about.append({"uid": group.uid, "kind": group.kind, "suffixes": len(group.suffixes)})
    return pack({**header, "groups": about}, arrays)


def groups_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[TrainGroup]:
    """The groups of a message."""
    groups = []
    for i, about in enumerate(header["groups"]):
        pixels, grid = arrays.get(f"{i}.pixels"), arrays.get(f"{i}.grid")
        prompt = EncodedPrompt(
            arrays[f"{i}.ids"],
            arrays[f"{i}.types"],
            None if pixels is None else torch.from_numpy(pixels),
            None if grid is None else torch.from_numpy(grid),
        )
        suffixes = tuple(
            Suffix(**{name: arrays.get(f"{i}.{k}.{name}") for name in SUFFIX})  # type: ignore[arg-type]
            for k in range(about["suffixes"])
        )
        groups.append(TrainGroup(about["uid"], about["kind"], prompt, suffixes))
    return groups


def pack_scores(scores: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Log-probabilities of each group's suffixes."""
    arrays = {f"{i}.{k}": s for i, row in enumerate(scores) for k, s in enumerate(row)}
    return pack({"rows": [len(row) for row in scores]}, arrays)


def scores_of(data: bytes) -> list[tuple[np.ndarray, ...]]:
    """What `pack_scores` packed."""
    header, arrays = unpack(data)
    return [tuple(arrays[f"{i}.{k}"] for k in range(n)) for i, n in enumerate(header["rows"])]
