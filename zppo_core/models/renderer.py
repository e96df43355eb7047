"""From a prompt to what a model takes, by the student's own chat template and processor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zppo_core.data.pixels import read_picture
from zppo_core.errors import UserError
from zppo_core.models.control_tokens import control_tokens
from zppo_core.types import EncodedPrompt, Prompt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

# bytes of encoded prompts kept: a step asks for each one at sampling and at training, and an image
# of 1.3 megapixels is 31 MB of patches
MEMO_BYTES = 2 << 30


class Renderer:
    """Encodes prompts and decodes responses for one model.

    `vocab_size` is the width of the model's logits: rows beyond the tokenizer are forbidden too.
    `generation` is the content of its generation_config, `media_ids` are the ids of pictures and
    sounds in its configuration: see `control_tokens`, which sets `end_id`, `end_ids`, `pad_id` and
    `forbidden_ids`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any = None,
        vocab_size: int = 0,
        generation: Mapping[str, object] | None = None,
        media_ids: Sequence[int] = (),
    ) -> None:
        self.tokenizer = tokenizer
        self.processor: Any = None
        if image_processor is not None:
            from zppo_core.models.processor import ImageProcessor

            self.processor = ImageProcessor(image_processor, tokenizer)
        self.vocab_size = max(vocab_size, len(tokenizer))
        tokens = control_tokens(tokenizer, self.vocab_size, generation, media_ids)
        self.end_id, self.end_ids = tokens.end_id, tokens.end_ids
        self.pad_id, self.forbidden_ids = tokens.pad_id, tokens.forbidden_ids
        self._memo: OrderedDict[str, EncodedPrompt] = OrderedDict()
        self._memo_bytes = 0
        self._lengths: dict[str, int] = {}  # of every prompt seen: some 600 a step

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """The chat-templated prompt with its images (images, then text, in one user turn).

        Raises UserError if its text smuggles in image placeholders of its own.
        """
        key = prompt.digest()
        if key in self._memo:
            self._memo.move_to_end(key)
            return self._memo[key]
        encoded = self._encode(prompt)
        self._lengths[key] = encoded.length
        self._memo[key] = encoded
        self._memo_bytes += encoded.nbytes
        while self._memo_bytes > MEMO_BYTES:
            self._memo_bytes -= self._memo.popitem(last=False)[1].nbytes
        return encoded

    def length(self, prompt: Prompt) -> int:
        """Tokens of the prompt, images included; a prompt seen before is not encoded again."""
        cached = self._lengths.get(prompt.digest())
        return self.encode(prompt).length if cached is None else cached

    def template(self, prompt: Prompt) -> str:
        """The prompt as one string, image placeholders not yet expanded.

        UserError if the tokenizer has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise UserError(
                "the model's tokenizer has no chat template (a base model?); take an instruct "
                "model, or put a chat_template.jinja beside its tokenizer.json"
            )
        content: Any = prompt.text
        if prompt.images:
            content = [{"type": "image"} for _ in prompt.images]
            content.append({"type": "text", "text": prompt.text})
        messages = [{"role": role, "content": text} for role, text in prompt.history]
        messages.append({"role": "user", "content": content})
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=prompt.thinking,
            )
        )

    def _encode(self, prompt: Prompt) -> EncodedPrompt:
        text = self.template(prompt)
        if not prompt.images:
            ids = np.array(self.encode_text(text), dtype=np.int64)
            if self.processor is not None and (ids == self.processor.image_token_id).any():
                raise UserError("a prompt without images holds an image placeholder token")
            return EncodedPrompt(ids, np.zeros_like(ids))
        if self.processor is None:
            raise UserError("the model takes no images but the corpus has them; use a VLM")
        if text.count(self.processor.image_token) != len(prompt.images):
            raise UserError(
                f"a prompt with {len(prompt.images)} images holds "
                f"{text.count(self.processor.image_token)} image placeholders"
            )
        images = [read_picture(data) for data in prompt.images]
        batch = self.processor(text=[text], images=images, return_tensors="pt")
        return EncodedPrompt(
            batch["input_ids"][0].numpy().astype(np.int64),
            batch["mm_token_type_ids"][0].numpy().astype(np.int64),
            batch["pixel_values"],
            batch["image_grid_thw"],
            prompt.images,
        )

    def pixels(self, images: Sequence[bytes]) -> torch.Tensor:
        """`pixel_values` (patches, values of a patch) of encoded pictures, as `encode` has them."""
        pictures = [read_picture(data) for data in images]
        batch = self.processor.image_processor(images=pictures, return_tensors="pt")
        pixels: torch.Tensor = batch["pixel_values"]
        return pixels

    def count(self, text: str, sizes: Sequence[tuple[int, int]], thinking: bool) -> int:
        """Tokens of a prompt of `text` and images of `sizes` (width, height), never opened."""
        words = len(self.encode_text(self.template(Prompt(text, (b"",) * len(sizes), thinking))))
        if not sizes:
            return words
        if self.processor is None:
            raise UserError("the model takes no images but the corpus has them; use a VLM")
        images = self.processor.image_processor
        patches = [images.get_number_of_image_patches(high, wide, {}) for wide, high in sizes]
        return int(words - len(sizes) + sum(p // images.merge_size**2 for p in patches))

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text, nothing added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def holds_control(self, text: str) -> bool:
        """Whether this model reads a control token in plain `text`: a turn's end, a picture."""
        return bool(np.isin(self.encode_text(text), [*self.end_ids, *self.forbidden_ids]).any())

    def decode(self, token_ids: Sequence[int] | np.ndarray) -> str:
        """The response's text without its end token; <think> tags stay."""
        ids = [int(i) for i in token_ids]
        if ids and ids[-1] in self.end_ids:
            ids = ids[:-1]
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))
