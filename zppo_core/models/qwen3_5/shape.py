"""Qwen3.5 by what memory depends on: parameters, cache, state and activations of a size."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from math import ceil

VOCAB = 248_320
HEAD_DIM, LINEAR_DIM, KEY_HEADS, KERNEL, EVERY = 256, 128, 16, 4, 4  # common to the family
PATCHES, PIXELS = 4, 3 * 2 * 16 * 16  # patches that become one token; values of a patch
HEAD_TOKENS = 2048  # positions whose logits are there at once, as in training/lm_head.py
# bytes of a logit, its probability and its gradient, and of what a layer keeps the part that its
# backward pass takes: both fit the peaks of an H100 (tests/scale/test_memory.py)
LOGIT, BACKWARD = 5, 1.37


@dataclass(frozen=True)
class Shape:
    """A Qwen3.5 by what memory depends on; `bytes` a parameter where it is only read."""

    hidden: int
    layers: int
    ffn: int
    heads: int
    kv_heads: int
    value_heads: int
    tied: bool
    vision_params: int
    vision_hidden: int
    vision_layers: int
    vision_ffn: int
    bytes: int = 2

    @property
    def full_layers(self) -> int:
        """Layers with full attention: every fourth."""
        return self.layers // EVERY

    @property
    def text_params(self) -> int:
        """Parameters of embeddings, layers and head."""
        h, keys, values = self.hidden, KEY_HEADS * LINEAR_DIM, self.value_heads * LINEAR_DIM
        attention = (
            h * self.heads * HEAD_DIM * 2  # queries and their gate
            + h * self.kv_heads * HEAD_DIM * 2
            + self.heads * HEAD_DIM * h
            + 2 * HEAD_DIM
        )
        mixed = 2 * keys + values
        delta = (
            h * mixed
            + mixed * KERNEL
            + h * values
            + 2 * h * self.value_heads
            + 2 * self.value_heads
            + LINEAR_DIM
            + values * h
        )
        each = 3 * h * self.ffn + 2 * h
        mixers = self.full_layers * attention + (self.layers - self.full_layers) * delta
        embeddings = VOCAB * h * (1 if self.tied else 2)
        return embeddings + self.layers * each + mixers + h

    @property
    def largest(self) -> int:
        """Parameters of the largest tensor: an embedding, or the head."""
        return VOCAB * self.hidden

    @property
    def params(self) -> int:
        return self.text_params + self.vision_params

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token."""
        return self.full_layers * 2 * self.kv_heads * HEAD_DIM * 2

    @property
    def state_bytes(self) -> int:
        """Recurrent state and convolution tail of one sequence, whatever its length."""
        linear = self.layers - self.full_layers
        mixed = 2 * KEY_HEADS * LINEAR_DIM + self.value_heads * LINEAR_DIM
        return linear * (self.value_heads * LINEAR_DIM * LINEAR_DIM * 4 + mixed * (KERNEL - 1) * 2)

    @property
    def block_tokens(self) -> int:
        """Tokens of a block of vLLM's cache: so many that keys and values fill a state's page."""
        state = self.state_bytes / (self.layers - self.full_layers)
        return 16 * ceil(state / (16 * self.cache_bytes / self.full_layers))

    @property
    def block_bytes(self) -> int:
        """A block of vLLM's cache: one page for each layer of a group of layers."""
        return self.block_tokens * self.cache_bytes

    def blocks_of(self, tokens: int) -> int:
        """Blocks of a sequence: its keys and values, and two states for each group of layers.

        The second state is that of the prefix, which other members of the group begin with.
        """
        return ceil(tokens / self.block_tokens) + 2 * (EVERY - 1)

    def activation_bytes(
        self, tokens: int, checkpointing: bool, pictures: int = 0, handed: int = 0
    ) -> int:
        """What a pass over `tokens` takes in bfloat16, when it takes most, beside weights and sums.

        `pictures` of the tokens are those of pictures, through a vision tower that learns. `handed`
        bytes are the pass's own gradients: they come as what was kept goes. The most may be at the
        head, in the last layer's backward pass, in the first one's, or in the tower's.
        """
        h = self.hidden
        layer = self.layer_bytes(tokens)
        kept, one = tokens * 2 * h * self.layers, round(layer * BACKWARD)
        if not checkpointing:
            kept, one = layer * self.layers, one - layer
        tower, again = self.tower_bytes(pictures, checkpointing)
        head = LOGIT * min(tokens, HEAD_TOKENS) * VOCAB + VOCAB * h * 6
        text = max(kept + max(head, VOCAB * h * 2 + one), handed + one)
        return max(tower + text, handed + again)

    def tower_bytes(self, tokens: int, checkpointing: bool) -> tuple[int, int]:
        """What the vision tower keeps of pictures that fill `tokens`, and computes again at once.

        A layer keeps its input, two norms, queries, keys and values with their rotation, what
        attention gives, and the feed-forward's width twice. Pixels and the merger come on top.
        """
        patches = tokens * PATCHES
        ends = patches * 2 * (PIXELS + 5 * self.vision_hidden)
        one = patches * 2 * (11 * self.vision_hidden + 2 * self.vision_ffn)
        if checkpointing:
            return ends + patches * 2 * self.vision_hidden * self.vision_layers, one
        return ends + one * self.vision_layers, 0

    def layer_bytes(self, tokens: int) -> int:
        """What a layer of the text stack keeps of `tokens`: norms, projections, gates, products."""
        h, values = self.hidden, self.value_heads * LINEAR_DIM
        return tokens * 2 * (6 * h + 3 * self.ffn + 2 * KEY_HEADS * LINEAR_DIM * 2 + 4 * values)


def known_shapes() -> dict[str, Shape]:
    """The sizes that were published, by hub id."""
    text = (resources.files(__package__) / "shapes.toml").read_text(encoding="utf-8")
    return {name: Shape(**values) for name, values in tomllib.loads(text).items()}
