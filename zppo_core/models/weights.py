"""A model's weights as files: an ordinary Hugging Face folder, written and read bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zppo_core.errors import UserError
from zppo_core.models import lora

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MTP = "mtp."  # what names of multi-token prediction begin with


def weight_hash(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes, in order of the names."""
    import torch

    h = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        h.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        h.update(flat.view(torch.uint8).numpy().data)
    return h.hexdigest()


def folder_hash(folder: Path) -> str:
    """`weight_hash` of the safetensors files of a folder, in however many parts."""
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return weight_hash(tensors.items())


def write_student(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    image_processor: Any = None,
    mtp: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """The student as an ordinary Hugging Face folder, for transformers and vLLM as it stands.

    `mtp` are the base's tensors of multi-token prediction, which stand beside the trained ones.
    """
    from safetensors.torch import save_file

    weights = None  # the model's own
    if lora.adapted(model):
        sums = lora.merged(model)
        # what is new goes to main memory; the rest stays, for ties are told by where tensors lie
        weights = {n: t.cpu() if sums.sums(n) else t for n, t in sums.items()}
    model.save_pretrained(folder, safe_serialization=True, state_dict=weights)
    if mtp:
        save_file(dict(mtp), folder / "mtp.safetensors", metadata={"format": "pt"})
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            content = json.loads(index.read_text())
            content["weight_map"] |= dict.fromkeys(mtp, "mtp.safetensors")
            index.write_text(json.dumps(content, indent=2, sort_keys=True))
    tokenizer.save_pretrained(folder)
    if image_processor is not None:
        image_processor.save_pretrained(folder)


def load_weights(folder: Path, model: PreTrainedModel) -> None:
    """Read the *.safetensors of a Hugging Face folder into `model`, bit for bit.

    UserError if a tensor of the model is missing there, or one there is none of the model's.
    """
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= {k: v for k, v in load_file(path).items() if not k.startswith(MTP)}
    result = model.load_state_dict(tensors, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", ()) or ())
    missing = [name for name in result.missing_keys if name not in tied]
    if missing or result.unexpected_keys:
        names = ", ".join([*missing, *result.unexpected_keys][:3])
        raise UserError(f"the checkpoint does not fit the model ({names}); was the model changed?")
