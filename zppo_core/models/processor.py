"""Qwen3-VL's processor; a module of its own, for importing transformers takes seconds."""

from __future__ import annotations

from typing import Any

from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor


class ImageProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor without a video processor, which would need torchvision.

    Video frames are given as images.
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer, None, **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]
