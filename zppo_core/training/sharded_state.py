"""Weights and optimizer state of a trainer that is spread over ranks, gathered and taken up again.

All ranks call each function: what is spread is gathered parameter by parameter, so that none holds
more than one whole beside its own part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

from zppo_core.training.deepspeed import MOMENTS, ShardedTrainer
from zppo_core.training.optimizer_state import MASTER


def whole_weights(
    trainer: ShardedTrainer, keep: bool, only: set[str] | None = None
) -> dict[str, torch.Tensor]:
    """The student's parameters in its own type, gathered from all ranks; none if not to `keep`.

    `only` these names; None: all. Where they are whole already they are not copied.
    """
    import deepspeed  # a rank has it; the step, which only names ranks, goes without

    sharded = trainer.sharding.stage == 3
    gathered = {}
    for name, parameter in trainer.model.named_parameters():
        if only is not None and name not in only:
            continue
        with deepspeed.zero.GatheredParameters([parameter], enabled=sharded):
            if keep:
                whole = parameter.detach().cpu()
                gathered[name] = whole.clone() if sharded else whole
    if keep:
        gathered |= {n: t.detach().cpu() for n, t in trainer.precise.tensors.items()}
    return gathered


def state_part(trainer: ShardedTrainer, part: int, parts: int) -> dict[str, torch.Tensor]:
    """Of the optimizer's state, as one process would write it, every `parts`-th name."""
    steps = trainer.steps
    tensors: dict[str, torch.Tensor] = {}
    for i, (name, weight, moments) in enumerate(trainer.states()):
        if i % parts != part:
            continue  # takes part in the gathering alone
        if steps:
            tensors |= {f"{name}:{m}": v.cpu() for m, v in zip(MOMENTS, moments, strict=True)}
            tensors[f"{name}:step"] = torch.tensor(float(steps))
        if trainer.learning[name].dtype != torch.float32 or trainer.low_rank:
            tensors[f"{name}:{MASTER}"] = weight.cpu()
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def take_up(
    trainer: ShardedTrainer, given: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> None:
    """Spread rank 0's weights and optimizer state over the ranks, parameter by parameter."""
    first = trainer.rank == 0

    def take(value: torch.Tensor | None, shape: Any) -> torch.Tensor:
        on = torch.zeros(shape, device=trainer.device)
        if value is not None:
            on.copy_(value)
        dist.broadcast(on, 0)
        return on

    def states() -> Iterator[tuple[str, torch.Tensor, list[torch.Tensor]]]:
        for name, parameter in trainer.learning.items():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            weight = take(state.get(f"{name}:{MASTER}", given.get(name)), shape)
            yield name, weight, [take(state.get(f"{name}:{m}"), shape) for m in MOMENTS]

    counted = next((float(v) for k, v in state.items() if k.endswith(":step")), 0.0)
    steps = int(take(torch.tensor(counted) if first else None, ()).item())
    trainer.restore(states(), steps)
