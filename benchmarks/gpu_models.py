"""Models of the paper's shapes with random weights, and groups of the paper's lengths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from bench_update import make_groups

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.models import memory
from zppo_core.models.nano import resolve
from zppo_core.models.qwen3_5 import shape as qwen
from zppo_core.types import EncodedPrompt

TINY = qwen.Shape(256, 4, 768, 2, 1, 4, True, 0, 64, 2, 128)  # for a CPU


# heads of the vision towers
TOWER_HEADS = {"tiny": 2, "0.8B": 12, "2B": 16, "4B": 16, "9B": 16}
PATCH, MERGE = 16, 2
# patches of one picture, high and wide: 768 x 1,024 pixels
GRIDS = {"tiny": (4, 6), **dict.fromkeys(("0.8B", "2B", "4B", "9B"), (48, 64))}


def picture_tokens(grid: tuple[int, int]) -> int:
    """Tokens that a picture of `grid` patches takes in a prompt, without its two marks."""
    return grid[0] * grid[1] // MERGE**2


def shape_of(name: str) -> qwen.Shape:
    """The shape of "4B", or "tiny"; KeyError for others."""
    return TINY if name == "tiny" else memory.shapes()[f"Qwen/Qwen3.5-{name}"]


def build(name: str, device: str, dtype: torch.dtype) -> Any:
    """A Qwen3.5 of this shape, its vision tower of the true size, with random weights.

    Token ids are those of the shipped nano checkpoint, whose configuration it starts from.
    """
    from transformers import AutoConfig, Qwen3_5ForConditionalGeneration

    shape = shape_of(name)
    config: Any = AutoConfig.from_pretrained(resolve("nano:student"))
    text, vision = config.text_config, config.vision_config
    text.hidden_size = vision.out_hidden_size = shape.hidden
    text.intermediate_size, text.num_hidden_layers = shape.ffn, shape.layers
    text.layer_types = [
        "full_attention" if i % qwen.EVERY == qwen.EVERY - 1 else "linear_attention"
        for i in range(shape.layers)
    ]
    text.num_attention_heads, text.num_key_value_heads = shape.heads, shape.kv_heads
    text.head_dim, text.vocab_size = qwen.HEAD_DIM, qwen.VOCAB if name != "tiny" else 1024
    text.linear_num_key_heads = min(qwen.KEY_HEADS, shape.value_heads)
    text.linear_num_value_heads = shape.value_heads
    text.linear_key_head_dim = text.linear_value_head_dim = qwen.LINEAR_DIM
    text.rope_parameters |= {"mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25}
    text.tie_word_embeddings = config.tie_word_embeddings = shape.tied
    text.max_position_embeddings = 1 << 17
    vision.depth, vision.hidden_size = shape.vision_layers, shape.vision_hidden
    vision.intermediate_size, vision.num_heads = shape.vision_ffn, TOWER_HEADS[name]
    vision.patch_size, vision.spatial_merge_size = PATCH, MERGE
    vision.num_position_embeddings = 48 * 48
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.device(device):
            return Qwen3_5ForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def groups_of(prompt: int, response: int, count: int, members: int = 8) -> list[TrainGroup]:
    """`count` groups whose responses are within a fifth of `response` tokens."""
    rng = np.random.default_rng(1)
    spread = lambda: max(2, int(response * rng.uniform(0.8, 1.2)))  # noqa: E731
    return make_groups([(prompt, [spread() for _ in range(members)]) for _ in range(count)], 0)


def with_pictures(
    group: TrainGroup, pictures: int, grid: tuple[int, int], patch: int = PATCH
) -> TrainGroup:
    """The group with random pictures in its prompt, in place of as many tokens as they take.

    `patch` [pixels] is the side of one. ValueError if they leave no room.
    """
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(resolve("nano:student"))
    each = picture_tokens(grid)
    ids = group.prompt.input_ids_P.copy()
    if len(ids) < pictures * (each + 2) + 2:
        raise ValueError(f"{pictures} pictures take {pictures * (each + 2)} of {len(ids)} tokens")
    types = np.zeros_like(ids)
    for i in range(pictures):
        start = 1 + i * (each + 2)
        ids[start], ids[start + each + 1] = config.vision_start_token_id, config.vision_end_token_id
        ids[start + 1 : start + 1 + each] = config.image_token_id
        types[start + 1 : start + 1 + each] = 1
    patches = pictures * grid[0] * grid[1]
    pixels = torch.randn(patches, 3 * 2 * patch**2, generator=torch.Generator().manual_seed(0))
    grids = torch.tensor([[1, *grid]] * pictures)
    return replace(group, prompt=EncodedPrompt(ids, types, pixels, grids))
