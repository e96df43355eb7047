"""An update worker, one rank of many, started by `zppo_core.cluster.launch`.

Rank 0 takes commands from the step that trains, at ZPPO_STEP (host:port) with the key in
ZPPO_STEP_KEY, and hands each on to all ranks. Ranks on other hosts need to know neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from zppo_core import models
from zppo_core.cluster import messages as wire
from zppo_core.cluster.listener import connect
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.errors import UserError, complain
from zppo_core.models import lora
from zppo_core.processes.shm import quick_folder
from zppo_core.processes.startup import hurry
from zppo_core.store.disk import writing
from zppo_core.training.deepspeed import MOMENTS, ShardedTrainer, Sharding, join
from zppo_core.training.optimizer_state import MASTER

RANKS = frozenset(
    (
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "ZPPO_MEETING",
    )
)
ADDRESS, KEY, BACKEND, DEVICE = "ZPPO_STEP", "ZPPO_STEP_KEY", "ZPPO_BACKEND", "ZPPO_DEVICE"


def build(spec: Mapping[str, Any]) -> ShardedTrainer:
    """The trainer that the step describes."""
    torch.set_num_threads(spec["threads"])
    dtype = getattr(torch, spec["dtype"])
    model, renderer = models.load(spec["model"], dtype, spec["device"])
    teacher = None
    if spec["teacher"]:
        teacher = models.load(spec["teacher"], dtype, spec["device"])[0]
    optimizer = dict(spec["optimizer"])
    optimizer["betas"] = tuple(optimizer["betas"])
    return ShardedTrainer.on(
        Sharding(**spec["sharding"]),
        model,
        renderer.forbidden_ids,
        renderer.pad_id,
        TrainerConfig(**spec["trainer"]),
        OptimizerConfig(**optimizer),
        LossConfig(**spec["loss"]),
        spec["device"],
        teacher,
        spec["objective"],
    )


def shared(data: bytes | None, group: Any) -> bytes:
    """`data` of rank 0, on every rank of `group`."""
    size = torch.tensor([0 if data is None else len(data)], dtype=torch.long)
    dist.broadcast(size, 0, group)
    if data is None:
        body = torch.empty(int(size), dtype=torch.uint8)
    else:
        body = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    dist.broadcast(body, 0, group)
    return body.numpy().tobytes()


class Program:
    """What runs beside the workers of a further host, and the file where its weights are left."""

    def __init__(self, about: Mapping[str, str]) -> None:
        place = quick_folder(int(about["bytes"]))
        self.folder = Path(tempfile.mkdtemp(prefix="zppo-host-", dir=place))
        self.weights = self.folder / "weights.safetensors"
        # the launcher's variables are about another process group
        own = {k: v for k, v in os.environ.items() if k not in RANKS}
        own |= {
            "ZPPO_ENGINES": about["address"],
            "ZPPO_WEIGHTS": str(self.weights),
            "ZPPO_HOST": os.environ["GROUP_RANK"],
        }
        own["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen([sys.executable, "-m", about["module"]], env=own)

    def close(self) -> None:
        """Wait until it has ended its own processes, as it does when the step goes away."""
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def further_host() -> bool:
    """Whether this rank is the first of a host other than the step's."""
    return os.environ.get("LOCAL_RANK") == "0" and os.environ.get("GROUP_RANK", "0") != "0"


def obey(
    trainer: ShardedTrainer, message: bytes, group: Any = None, program: Program | None = None
) -> bytes:
    """Carry out one command, on every rank; the answer is rank 0's."""
    header, arrays = wire.unpack(message)
    command = header["command"]
    if command == "score":
        return wire.pack_scores(trainer.score(wire.groups_of(header, arrays)))
    if command == "update":
        groups = wire.groups_of(header, arrays)
        return wire.pack(asdict(trainer.update(groups, header["tokens"])))
    if command == "weights":
        trainer.leave_room()
        keep, learning = trainer.rank == 0 or program is not None, trainer.learning
        found = whole_weights(trainer, keep, None if header["everything"] else set(learning))
        # the step has the base of adapters
        low_rank = trainer.low_rank
        own = {n: w for n, w in found.items() if not low_rank or n in learning}
        _write(trainer, own, header["path"])
        if program is not None:
            with writing(f"the weights of rank {trainer.rank}", program.weights):
                save_file(lora.merge(found, lora.scaling(trainer.model)), program.weights)
        dist.barrier(group)  # all hosts have theirs before the step says "load"
        return wire.pack({})
    if command == "save":
        save(trainer, header["path"])
        return wire.pack({})
    if command == "load":
        load(trainer, header["student"], header["optimizer"])
        return wire.pack({})
    raise ValueError(f"no command {command!r}")


def whole_weights(
    trainer: ShardedTrainer, keep: bool, only: Set[str] | None = None
) -> dict[str, torch.Tensor]:
    """The student's parameters in its own type, gathered from all ranks; none if not to `keep`.

    `only` these names; None: all.
    """
    import deepspeed

    sharded = trainer.sharding.stage == 3
    found = {}
    for name, parameter in trainer.model.named_parameters():
        if only is not None and name not in only:
            continue
        with deepspeed.zero.GatheredParameters([parameter], enabled=sharded):
            if keep:
                found[name] = parameter.detach().cpu().clone().contiguous()
    if keep:
        precise = trainer.precise.tensors.items()
        found |= {name: tensor.detach().cpu().clone() for name, tensor in precise}
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
        if trainer.learning[name].dtype != torch.float32 or trainer.low_rank:
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
        for name, parameter in trainer.learning.items():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            weight = take(state.get(f"{name}:{MASTER}", given.get(name)), shape)
            yield name, weight, [take(state.get(f"{name}:{m}"), shape) for m in MOMENTS]

    counted = next((int(v.item()) for k, v in state.items() if k.endswith(":step")), 0)
    steps = int(take(torch.tensor(float(counted)) if first else None, ()).item())
    trainer.restore(states(), steps)


def _write(trainer: ShardedTrainer, tensors: Mapping[str, torch.Tensor], path: str) -> None:
    if trainer.rank == 0:
        with writing("what rank 0 of the update hands over", path):
            save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def main() -> int:
    """Serve until the step says "stop" or goes away."""
    hurry()
    device = os.environ.get(DEVICE, "cpu")
    rank = join(os.environ.get(BACKEND, "gloo"), device)
    # ranks wait here while the step samples, as long as that takes and without spinning on a GPU
    commands = dist.new_group(backend="gloo", timeout=timedelta(days=7))
    connection: Connection | None = None
    if rank == 0:
        connection = connect(os.environ[ADDRESS], bytes.fromhex(os.environ[KEY]))
    program: Program | None = None
    try:
        spec, _ = wire.unpack(shared(connection.recv_bytes() if connection else None, commands))
        trainer = build(spec)
        program = Program(spec["program"]) if spec["program"] and further_host() else None
        if connection:
            connection.send_bytes(wire.pack({"mode": trainer.mode, "why": trainer.mode_reason}))
        while True:
            try:
                own = connection.recv_bytes() if connection else None
            except EOFError:  # the step is gone
                own = wire.pack({"command": "stop"})
            message = shared(own, commands)
            if wire.header_of(message)["command"] == "stop":
                dist.destroy_process_group()
                return 0
            answer = obey(trainer, message, commands, program)
            if connection:
                connection.send_bytes(answer)
    except UserError as error:  # of one rank or of all: the launcher ends those that are left
        if connection:
            connection.send_bytes(wire.pack({"error": str(error)}))
        else:
            complain(error)
        return 2
    finally:
        if program is not None:
            program.close()


if __name__ == "__main__":
    sys.exit(main())
