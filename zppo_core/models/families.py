"""A family of models: what the code has to know of it beyond what transformers does.

A family is a folder: ours are in `zppo_core/models/`, one from another package is an entry point of
the group `zppo.families` whose value is `package.module:FAMILY`. Nothing is asked of a family that
transformers can train: `Family` itself serves every model that no other one names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from zppo_core.extensions import load
from zppo_core.models.control_tokens import media_ids
from zppo_core.models.renderer import Renderer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

    from zppo_core.algorithm.train_groups import TrainGroup
    from zppo_core.types import EncodedPrompt

# groups -> (hidden (tokens, H) before each response token in order, tokens computed)
Forward = Callable[["Sequence[TrainGroup]"], "tuple[torch.Tensor, int]"]
OURS = ("zppo_core.models.qwen3_5:FAMILY",)
GROUP = "zppo.families"


class Decoder(Protocol):
    """A batch in the middle of decoding."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Feed one token a row, (rows,); logits (rows, V) of the next."""
        ...

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""
        ...


class Shape(Protocol):
    """A model by what memory depends on; sizes in parameters, tokens and bytes."""

    @property
    def hidden(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def ffn(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Of a parameter where it is only read."""
        ...

    @property
    def params(self) -> int: ...
    @property
    def largest(self) -> int:
        """Parameters of the largest tensor."""
        ...

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token."""
        ...

    @property
    def state_bytes(self) -> int:
        """What a sequence holds, whatever its length."""
        ...

    @property
    def block_bytes(self) -> int:
        """A block of vLLM's cache."""
        ...

    def blocks_of(self, tokens: int) -> int:
        """Blocks that one sequence takes."""
        ...

    def activation_bytes(
        self, tokens: int, checkpointing: bool, pictures: int = 0, handed: int = 0
    ) -> int:
        """What a pass over `tokens` takes in bfloat16, when it takes most, beside weights and sums.

        `pictures` of them are those of pictures, through a vision tower that learns; `handed` bytes
        are the gradients that the pass leaves.
        """
        ...


class Family:
    """Every method may be left as it is: then transformers' own passes serve."""

    name: str = "any"
    model_types: tuple[str, ...] = ()  # `model_type` of configurations

    def load(self, folder: str, images: bool, dtype: torch.dtype) -> PreTrainedModel:
        """The model of a checkpoint, on the CPU."""
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        auto = AutoModelForImageTextToText if images else AutoModelForCausalLM
        model: PreTrainedModel = auto.from_pretrained(folder, dtype=dtype)
        return model

    def renderer(self, folder: str, vocab_size: int, images: bool) -> Renderer:
        """Tokenizer and, for a model that takes images, its image processor on the PIL backend."""
        from transformers import AutoTokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        tokenizer = AutoTokenizer.from_pretrained(folder)
        processor = Qwen2VLImageProcessorPil.from_pretrained(folder) if images else None
        generation, config = generation_of(folder)
        return Renderer(tokenizer, processor, vocab_size, generation, media_ids(config))

    def shapes(self) -> Mapping[str, Shape]:
        """What is known of memory, by model folder or hub id; no estimate is made of others."""
        return {}

    def forward(
        self,
        model: PreTrainedModel,
        mode: str,
        pad_id: int,
        checkpointing: bool,
        device: torch.device,
    ) -> tuple[str, str, Forward] | None:
        """(mode, why, forward pass) of training; None: padded rows by transformers.

        UserError where the `wanted` trainer.mode cannot be exact.
        """
        return None

    def decoder(
        self,
        model: PreTrainedModel,
        encoded: Sequence[EncodedPrompt],
        texts: Sequence[np.ndarray],
        n: int,
        pad_id: int,
    ) -> Decoder | None:
        """A decoder that has read all but the last token of each text, n rows a prompt.

        None: transformers' own cache.
        """
        return None


ANY = Family()


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """Those of other packages, then ours; UserError if one cannot be imported."""
    outside = sorted(point.value for point in entry_points(group=GROUP))
    return tuple(load(place, Family, "family") for place in (*outside, *OURS))


def family_of(model_type: str) -> Family:
    """The first family that names this `model_type`, or the one that serves any."""
    return next((f for f in families() if model_type in f.model_types), ANY)


def generation_of(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """generation_config, or what the model's configuration says in its place; the latter."""
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(folder)
    try:
        generation = GenerationConfig.from_pretrained(folder)
    except OSError:  # there is none
        generation = GenerationConfig.from_model_config(config)
    return generation.to_dict(), config.to_dict()
