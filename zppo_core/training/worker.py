"""An update worker, one rank of many: `torchrun … -m zppo_core.training.worker`.

Rank 0 takes commands from the step that trains, at ZPPO_STEP (host:port) with the key in
ZPPO_STEP_KEY, and hands each on to all ranks. Ranks on other hosts need to know neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from multiprocessing.connection import Client, Connection
from typing import Any

import torch
import torch.distributed as dist

from zppo_core import models
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.store.checkpoint import MASTER
from zppo_core.training import wire
from zppo_core.training.deepspeed import MOMENTS, ShardedTrainer, Sharding, join

ADDRESS, KEY, BACKEND, DEVICE = "ZPPO_STEP", "ZPPO_STEP_KEY", "ZPPO_BACKEND", "ZPPO_DEVICE"


def build(spec: Mapping[str, Any]) -> ShardedTrainer:
    """The trainer that the step describes."""
    torch.set_num_threads(spec["threads"])
    dtype = getattr(torch, spec["dtype"])
    model, renderer = models.load(spec["model"], dtype, spec["device"])
    optimizer = dict(spec["optimizer"])
    optimizer["betas"] = tuple(optimizer["betas"])
    return ShardedTrainer.on(
        Sharding(**spec["sharding"]), model, renderer.forbidden_ids, renderer.pad_id,
        TrainerConfig(**spec["trainer"]), OptimizerConfig(**optimizer), LossConfig(**spec["loss"]),
        spec["device"],
    )  # fmt: skip


def shared(data: bytes | None, device: str) -> bytes:
    """`data` of rank 0, on every rank."""
    size = torch.tensor([0 if data is None else len(data)], dtype=torch.long, device=device)
    dist.broadcast(size, 0)
    if data is None:
        body = torch.empty(int(size), dtype=torch.uint8, device=device)
    else:
        body = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(device)
    dist.broadcast(body, 0)
    return body.cpu().numpy().tobytes()


def obey(trainer: ShardedTrainer, message: bytes) -> bytes:
    """Carry out one command, on every rank; the answer is rank 0's."""
    header, arrays = wire.unpack(message)
    command = header["command"]
    if command == "score":
        return wire.pack_scores(trainer.score(wire.groups_of(header, arrays)))
    if command == "update":
        groups = wire.groups_of(header, arrays)
        return wire.pack(asdict(trainer.update(groups, header["tokens"])))
    if command == "weights":
        _write(trainer, whole_weights(trainer), header["path"])
        return wire.pack({})
    if command == "save":
        save(trainer, header["path"])
        return wire.pack({})
    if command == "load":
        load(trainer, header["student"], header["optimizer"])
        return wire.pack({})
    raise ValueError(f"no command {command!r}")


def whole_weights(trainer: ShardedTrainer) -> dict[str, torch.Tensor]:
    """The student's parameters in its own type, gathered from all ranks."""
    import deepspeed

    sharded = trainer.sharding.stage == 3
    found = {}
    for name, parameter in trainer.model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], enabled=sharded):
            if trainer.rank == 0:
                found[name] = parameter.detach().cpu().clone()
    return found


def save(trainer: ShardedTrainer, path: str) -> None:
    """The optimizer's state as one process would write it: any number of ranks can take it up."""
    steps, first = trainer.steps, trainer.rank == 0
    tensors: dict[str, torch.Tensor] = {}
    for name, weight, moments in trainer.states():
        if not first:
            continue  # takes part in the gathering alone
        if steps:
            tensors |= {f"{name}:{m}": v.cpu() for m, v in zip(MOMENTS, moments, strict=True)}
            tensors[f"{name}:step"] = torch.tensor(float(steps))
        if trainer.named[name].dtype != torch.float32:
            tensors[f"{name}:{MASTER}"] = weight.cpu()
    _write(trainer, tensors, path)


def load(trainer: ShardedTrainer, student: str, optimizer: str) -> None:
    """Take up weights and optimizer state from rank 0's files, parameter by parameter."""
    from safetensors.torch import load_file

    first = trainer.rank == 0
    given = load_file(student) if first else {}
    state = load_file(optimizer) if first else {}

    def take(value: torch.Tensor | None, shape: Any) -> torch.Tensor:
        on = torch.zeros(shape, device=trainer.device)
        if value is not None:
            on.copy_(value)
        dist.broadcast(on, 0)
        return on

    def states() -> Iterator[tuple[str, torch.Tensor, list[torch.Tensor]]]:
        for name, parameter in trainer.named.items():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            weight = take(state.get(f"{name}:{MASTER}", given.get(name)), shape)
            yield name, weight, [take(state.get(f"{name}:{m}"), shape) for m in MOMENTS]

    counted = next((int(v.item()) for k, v in state.items() if k.endswith(":step")), 0)
    steps = int(take(torch.tensor(float(counted)) if first else None, ()).item())
    trainer.restore(states(), steps)


def _write(trainer: ShardedTrainer, tensors: Mapping[str, torch.Tensor], path: str) -> None:
    from safetensors.torch import save_file

    if trainer.rank == 0:
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def main() -> int:
    """Serve until the step says "stop" or goes away."""
    device = os.environ.get(DEVICE, "cpu")
    rank = join(os.environ.get(BACKEND, "gloo"), device)
    on = f"cuda:{torch.cuda.current_device()}" if device == "cuda" else "cpu"
    connection: Connection | None = None
    if rank == 0:
        host, _, port = os.environ[ADDRESS].rpartition(":")
        key = bytes.fromhex(os.environ[KEY])
        connection = Client((host, int(port)), authkey=key)
    spec, _ = wire.unpack(shared(connection.recv_bytes() if connection else None, on))
    trainer = build(spec)
    if connection:
        connection.send_bytes(wire.pack({"mode": trainer.mode, "why": trainer.mode_reason}))
    while True:
        try:
            own = connection.recv_bytes() if connection else None
        except EOFError:  # the step is gone
            own = wire.pack({"command": "stop"})
        message = shared(own, on)
        if wire.unpack(message)[0]["command"] == "stop":
            dist.destroy_process_group()
            return 0
        answer = obey(trainer, message)
        if connection:
            connection.send_bytes(answer)


if __name__ == "__main__":
    sys.exit(main())
