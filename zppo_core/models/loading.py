"""Loads a student or teacher with its renderer, from the nano world, a folder or a hub id."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zppo_core.errors import UserError, shown
from zppo_core.models import lora
from zppo_core.models.families import families, family_of
from zppo_core.models.lean import spare_scikit
from zppo_core.models.nano import resolve
from zppo_core.models.weights import MTP

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

    from zppo_core.models.renderer import Renderer


def load(
    name: str, dtype: torch.dtype, device: str = "cpu", tokenizer_from: str = ""
) -> tuple[PreTrainedModel, Renderer]:
    """The model in evaluation mode and its renderer.

    `tokenizer_from` names another checkpoint for tokenizer and image processor. UserError if the
    checkpoint is not there or no model class takes it.
    """
    quiet()
    folder = _locate(name)
    config = _configuration(name)
    is_vlm = hasattr(config, "vision_config")
    model = family_of(config.model_type).load(folder, is_vlm, dtype).eval()
    model.to(device)
    vocab = model.get_output_embeddings().weight.shape[0]
    return model, load_renderer(tokenizer_from or name, vocab, is_vlm)


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
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = [key for key in file.keys() if key.startswith(MTP)]  # noqa: SIM118
            tensors |= {key: file.get_tensor(key) for key in names}
    return tensors


def shape(name: str) -> tuple[int, int, bool]:
    """Parameters, rows of the vocabulary and whether it takes images, without loading weights."""
    import torch

    spare_scikit()
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    configuration = _configuration(name)
    images = hasattr(configuration, "vision_config")
    family: Any = AutoModelForImageTextToText if images else AutoModelForCausalLM
    with torch.device("meta"):
        model = family.from_config(configuration)
    return model.num_parameters(), model.get_output_embeddings().weight.shape[0], images


def context(name: str) -> int:
    """Tokens of prompt and response that the model was made for."""
    configuration = _configuration(name)
    return int(configuration.get_text_config().max_position_embeddings)


def quiet() -> None:
    """No bars for loads of a second, no advice on kernels that a CPU cannot run."""
    import torch
    from transformers.utils import logging

    # DeepSpeed, which transformers imports, warns in every task that has no GPU unless it is told
    # counted, not tried: CUDA, once it is up in this process, cannot be used in a fork of it
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.device_count() else "cpu")
    spare_scikit()
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def load_renderer(name: str, vocab_size: int, images: bool) -> Renderer:
    """The renderer of a model, by its family."""
    family = family_of(_configuration(name).model_type)
    return family.renderer(_locate(name), vocab_size, images)


def _configuration(name: str) -> PreTrainedConfig:
    """The configuration of a checkpoint; families may teach transformers new ones.

    UserError if there is none of this name, here or on the hub.
    """
    from transformers import AutoConfig

    families()
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(_locate(name))
    except (OSError, ValueError) as error:  # a name that the hub allows for none is a ValueError
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"cannot load model {shown(name)} ({why}); give a Hugging Face folder"
        ) from error
    return config


def _locate(name: str) -> str:
    if name.startswith("nano:"):
        return str(resolve(name))
    path = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not (path / "config.json").is_file():
        raise UserError(f"no checkpoint at {name}: it needs config.json and *.safetensors")
    return str(path) if path.exists() else name


def weights_name(model: PreTrainedModel) -> str:
    """The identity of the weights in caches: SHA-256 (hex) over names and bytes, in name order."""
    import torch

    h = hashlib.sha256()
    tensors = lora.merged(model)
    for name in sorted(tensors):  # one at a time, where adapters are merged
        h.update(name.encode() + b"\0")
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        h.update(flat.view(torch.uint8).numpy().tobytes())
    return h.hexdigest()
