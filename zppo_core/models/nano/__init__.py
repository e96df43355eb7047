"""The nano world: Qwen3.5 itself, tiny. Its checkpoints `nano:student` and `nano:teacher` ship."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from zppo_core.errors import UserError


def resolve(name: str) -> Path:
    """The folder of `nano:student` or `nano:teacher`; UserError if it is not there."""
    role = name.removeprefix("nano:")
    folder = Path(str(resources.files("zppo_core.models.nano") / "weights" / role))
    if not (folder / "model.safetensors").is_file():
        raise UserError(
            f"checkpoint {name} is missing from {folder}; rebuild it with "
            "python -m zppo_core.models.nano build --out zppo_core/models/nano/weights"
        )
    return folder
