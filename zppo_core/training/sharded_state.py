"""Weights and optimizer state of a trainer that is spread over ranks, gathered and taken up again.

All ranks call each function: what is spread is gathered tensor by tensor, so that none holds more
than one whole beside its own part.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    for i, (name, parameter) in enumerate(trainer.learning.items()):
        mastered = parameter.dtype != torch.float32 or trainer.low_rank
        kinds = (*(MOMENTS if steps else ()), *((MASTER,) if mastered else ()))
        for kind in kinds:
            if i % parts != part:
                whole(trainer, name, kind)  # takes part in the gathering alone
                continue
            # in main memory before the next: an embedding of 9B is 3.8 GiB in float32
            tensors[f"{name}:{kind}"] = whole(trainer, name, kind).cpu().contiguous()
        if steps and i % parts == part:
            tensors[f"{name}:step"] = torch.tensor(float(steps))
    return tensors


def whole(trainer: ShardedTrainer, name: str, kind: str) -> torch.Tensor:
    """A float32 weight (MASTER), or one of its MOMENTS; all ranks must ask for it."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    tensor: torch.Tensor
    if name in trainer.precise.tensors:
        if kind == MASTER:
            return trainer.precise.tensors[name].detach()
        return trainer.precise.moments(name, (kind,))[0]
    if kind == MASTER:
        tensor = safe_get_full_fp32_param(trainer.named[name])
    else:
        tensor = safe_get_full_optimizer_state(trainer.named[name], kind)
    return tensor


def take_up(
    trainer: ShardedTrainer, given: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> None:
    """Spread rank 0's weights and optimizer state over the ranks, tensor by tensor."""
    first = trainer.rank == 0

    def take(value: torch.Tensor | None, shape: Any) -> torch.Tensor:
        on = torch.zeros(shape, device=trainer.device)
        if value is not None:
            on.copy_(value)
        dist.broadcast(on, 0)
        return on

    counted = next((float(v) for k, v in state.items() if k.endswith(":step")), 0.0)
    steps = int(take(torch.tensor(counted) if first else None, ()).item())
    for name, parameter in trainer.learning.items():
        shape = getattr(parameter, "ds_shape", parameter.shape)
        weight = state.get(f"{name}:{MASTER}", given.get(name))
        values = {kind: state.get(f"{name}:{kind}") for kind in MOMENTS}
        if name in trainer.precise.tensors:
            kept = {kind: take(value, shape) for kind, value in values.items()}
            trainer.precise.put(name, take(weight, shape), kept, steps)
            continue
        for kind, value in {MASTER: weight, **values}.items():
            _put(trainer, name, take(value, shape), kind)
    trainer.counted(steps)


def _put(trainer: ShardedTrainer, name: str, value: torch.Tensor, kind: str) -> None:
    """This rank's part of a whole float32 weight (MASTER), or of one of its moments."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    parameter = trainer.named[name]
    if trainer.sharding.stage < 3:
        if kind == MASTER:
            safe_set_full_fp32_param(parameter, value)
        else:
            safe_set_full_optimizer_state(parameter, value, kind)
        return
    # DeepSpeed's own setter reads past the end where ranks do not divide a weight evenly
    key = None if kind == MASTER else kind
    part, _ = trainer.engine.optimizer._get_fp32_opt_state_partition(parameter, False, key)
    local = value.flatten()[part.numel() * trainer.rank :][: part.numel()]
    part.data[: len(local)].copy_(local)
    if kind == MASTER:
        low: torch.Tensor = parameter.ds_tensor  # type: ignore[attr-defined]
        low.data[: len(local)].copy_(local)
