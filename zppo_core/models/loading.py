"""Loads a student or teacher with its renderer, from the nano world, a folder or a hub id."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zppo_core.errors import UserError
from zppo_core.models.control_tokens import media_ids
from zppo_core.models.weights import MTP

if TYPE_CHECKING:
    import torch

    from zppo_core.models.renderer import Renderer


def load(
    name: str, dtype: torch.dtype, device: str = "cpu", tokenizer_from: str = ""
) -> tuple[Any, Renderer]:
    """The model in evaluation mode and its renderer.

    `tokenizer_from` names another checkpoint for tokenizer and image processor. UserError if the
    checkpoint is not there or no model class takes it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    quiet()
    folder = _locate(name)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot load model {name!r} ({str(error).splitlines()[0]}); give a Hugging Face folder"
        ) from error
    is_vlm = hasattr(config, "vision_config")
    family = AutoModelForImageTextToText if is_vlm else AutoModelForCausalLM
    with _precise():
        loaded: Any = family.from_pretrained(folder, dtype=dtype)
    model = loaded.to(device).eval()
    vocab = model.get_output_embeddings().weight.shape[0]
    return model, load_renderer(tokenizer_from or name, vocab, is_vlm)


# of Qwen3.5's text stack: decays and norms lose too much in bfloat16
PRECISE = (
    "A_log",
    "dt_bias",
    "input_layernorm",
    "post_attention_layernorm",
    "q_norm",
    "k_norm",
    "linear_attn.norm",
    "language_model.norm",
)


@contextmanager
def _precise() -> Iterator[None]:
    """Models of the family that are loaded within keep `PRECISE` in float32."""
    from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen

    base = qwen.Qwen3_5PreTrainedModel
    before = base._keep_in_fp32_modules_strict
    base._keep_in_fp32_modules_strict = list(PRECISE)
    try:
        yield
    finally:
        base._keep_in_fp32_modules_strict = before


def mtp_weights(name: str) -> dict[str, torch.Tensor]:
    """The tensors of multi-token prediction in a checkpoint, which transformers does not load.

    Engines decode speculatively with them, so a student that is saved keeps its base's.
    """
    from huggingface_hub import try_to_load_from_cache
    from safetensors import safe_open

    folder = Path(_locate(name))
    if not folder.is_dir():
        cached = try_to_load_from_cache(name, "config.json")
        if not isinstance(cached, str):
            return {}
        folder = Path(cached).parent
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = [key for key in file.keys() if key.startswith(MTP)]  # noqa: SIM118
            found |= {key: file.get_tensor(key) for key in names}
    return found


def shape(name: str) -> tuple[int, int, bool]:
    """Parameters, rows of the vocabulary and whether it takes images, without loading weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    found = AutoConfig.from_pretrained(_locate(name))
    images = hasattr(found, "vision_config")
    family: Any = AutoModelForImageTextToText if images else AutoModelForCausalLM
    with torch.device("meta"):
        model = family.from_config(found)
    return model.num_parameters(), model.get_output_embeddings().weight.shape[0], images


def context(name: str) -> int:
    """Tokens of prompt and response that the model was made for."""
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(_locate(name))
    return int(found.get_text_config().max_position_embeddings)


def quiet() -> None:
    """No bars for loads of a second, no advice on kernels that a CPU cannot run."""
    import torch
    from transformers.utils import logging

    # DeepSpeed, which transformers imports, warns in every task that has no GPU unless it is told
    # counted, not tried: CUDA, once it is up in this process, cannot be used in a fork of it
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.device_count() else "cpu")
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def load_renderer(name: str, vocab_size: int, images: bool) -> Renderer:
    """Tokenizer and, for a model that takes images, its image processor on the PIL backend."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    from zppo_core.models.renderer import Renderer

    folder = _locate(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder) if images else None
    generation, config = _generation(folder)
    return Renderer(tokenizer, processor, vocab_size, generation, media_ids(config))


def _generation(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """generation_config, or what the model's configuration says in its place; the latter."""
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(folder)
    try:
        generation = GenerationConfig.from_pretrained(folder)
    except OSError:  # there is none
        generation = GenerationConfig.from_model_config(config)
    return generation.to_dict(), config.to_dict()


def _locate(name: str) -> str:
    if name.startswith("nano:"):
        from zppo_core.models.nano import resolve

        return str(resolve(name))
    path = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not (path / "config.json").is_file():
        raise UserError(f"no checkpoint at {name}: it needs config.json and *.safetensors")
    return str(path) if path.exists() else name


def weights_name(model: Any) -> str:
    """The identity of the weights in caches: SHA-256 (hex) over names and bytes, in name order."""
    import torch

    from zppo_core.models import lora

    h = hashlib.sha256()
    for name, tensor in sorted(lora.merged(model).items()):
        h.update(name.encode() + b"\0")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        h.update(flat.view(torch.uint8).numpy().tobytes())
    return h.hexdigest()
