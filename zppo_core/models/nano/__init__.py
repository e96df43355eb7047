"""The nano world: Qwen3.5 itself, tiny. Its checkpoints ship, like `nano:student`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from zppo_core.errors import UserError


def resolve(name: str) -> Path:
    """The folder of `nano:student`, `nano:zone-student` and so on; UserError if it is not there."""
    role = name.removeprefix("nano:")
    folder = Path(str(resources.files("zppo_core.models.nano") / "weights" / role))
    if not (folder / "model.safetensors").is_file():
        what = "zone" if role.startswith("zone") else "build"
        raise UserError(
            f"checkpoint {name} is missing from {folder}; rebuild it with "
            f"python -m zppo_core.models.nano {what} --out zppo_core/models/nano/weights"
        )
    return folder
