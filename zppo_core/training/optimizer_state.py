"""The optimizer's state as files: tensors as safetensors, settings as JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zppo_core.store.checkpoint import Checkpoint

MASTER = "master"  # of a parameter, beside the optimizer's own state


def write_optimizer(
    folder: Path,
    optimizer: torch.optim.Optimizer,
    named: Mapping[str, torch.Tensor],
    masters: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """The optimizer's state by parameter name: tensors as safetensors, settings as JSON.

    `masters` are float32 weights that differ from the student's own.
    """
    from safetensors.torch import save_file

    tensors = {f"{n}:{MASTER}": t.detach().contiguous() for n, t in (masters or {}).items()}
    scalars = {}
    names = {tensor: name for name, tensor in named.items()}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            full = f"{names[parameter]}:{key}"
            if hasattr(value, "dtype"):
                tensors[full] = value.detach().contiguous()
            else:
                scalars[full] = value
    save_file(tensors, folder / "optimizer.safetensors")
    write_settings(folder, optimizer, scalars)


def write_settings(
    folder: Path, optimizer: torch.optim.Optimizer, scalars: Mapping[str, Any] | None = None
) -> None:
    """What of an optimizer is no tensor, as JSON beside its tensors."""
    settings = [
        {k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups
    ]
    content = {"scalars": dict(scalars or {}), "settings": settings}
    (folder / "optimizer.json").write_text(json.dumps(content, indent=1, sort_keys=True))


def read_tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The optimizer's tensors, from the one file of a process or the several of ranks."""
    from safetensors.torch import load

    tensors: dict[str, torch.Tensor] = {}
    for name in checkpoint.files():
        if name.startswith("optimizer") and name.endswith(".safetensors"):
            tensors |= load(checkpoint.read(name))
    return tensors


def read_optimizer(
    checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, named: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `write_optimizer` wrote, bit for bit; masters into `named` itself."""
    content = json.loads(checkpoint.read("optimizer.json"))
    states: dict[str, dict[str, Any]] = {}
    everything: dict[str, Any] = {
        **read_tensors(checkpoint),
        **content["scalars"],
    }
    for full, value in everything.items():
        name, _, key = full.rpartition(":")
        states.setdefault(name, {})[key] = value
    optimizer.state.clear()
    for name, state in states.items():
        parameter = named[name]
        if MASTER in state:
            parameter.data.copy_(state.pop(MASTER))
        optimizer.state[parameter] = {
            k: v.to(parameter.device) if hasattr(v, "dtype") and k != "step" else v
            for k, v in state.items()
        }
    for group, settings in zip(optimizer.param_groups, content["settings"], strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
