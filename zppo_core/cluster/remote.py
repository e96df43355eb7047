"""The trainer of a step whose update runs in worker processes, on this host or on several.

`zppo_core.cluster.launch` starts the workers. This side sends groups and takes metrics. The model
here is a copy of the workers' for engines and checkpoints, made new by `publish`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zppo_core.algorithm.train_groups import NO_UPDATE, TrainGroup, UpdateMetrics
from zppo_core.cluster import messages as wire
from zppo_core.cluster.listener import Door
from zppo_core.config import Config, LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.errors import UserError
from zppo_core.models import lora
from zppo_core.processes.shm import quick_folder
from zppo_core.store.checkpoint import Checkpoint
from zppo_core.store.disk import writing
from zppo_core.training.deepspeed import PATIENCE
from zppo_core.training.updater import adamw

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ENDED = re.compile(r"rank \d+ ended .+")
TAIL = 20_000  # characters at the end of the workers' log that are looked through


@dataclass(frozen=True)
class Workers:
    """Which processes train. `processes` a host; `hosts` > 1 meet at `master` (host:port).

    This host is the first. On each other one somebody starts the line that `elsewhere` gives.
    """

    processes: int
    device: str = "cpu"
    stage: int = 2
    offload: bool = False
    hosts: int = 1
    master: str = ""
    threads: int = 1

    def command(self, host: int = 0) -> list[str]:
        """The launcher's arguments on host number `host`."""
        command = ["-m", "zppo_core.cluster.launch", "--processes", str(self.processes)]
        if self.hosts > 1:
            command += ["--hosts", str(self.hosts), "--host", str(host), "--master", self.master]
        return command

    def elsewhere(self, host: int) -> str:
        """The line to start on another host."""
        about = f"ZPPO_BACKEND={self.backend} ZPPO_DEVICE={self.device}"
        return f"{about} python {' '.join(self.command(host))}"

    @property
    def backend(self) -> str:
        return "nccl" if self.device == "cuda" else "gloo"


class RemoteTrainer:
    """`Trainer`'s methods, done by workers. UserError with the end of their log if they die.

    `objective` names the loss, `teacher` the model that it looks at, which every worker loads.
    `program` is started by the workers of each further host: its "module", and the "address" that
    it is given. Weights that `publish` brings here are left in a file for it there.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        name: str,
        workers: Workers,
        trainer: TrainerConfig,
        optimizer: OptimizerConfig,
        loss: LossConfig,
        program: Mapping[str, str] | None = None,
        teacher: str = "",
        objective: str = "surrogate",
    ) -> None:
        self.model, self.settings = model, optimizer
        if trainer.lora_rank:  # as the workers do: what comes from them are the adapters alone
            lora.add(model, trainer.lora_rank, trainer.lora_alpha)
        self._everything = trainer.lora_rank == 0 or program is not None
        self._folder = tempfile.TemporaryDirectory(prefix="zppo-update-")
        self._log = Path(self._folder.name) / "workers.log"
        if program is not None:
            program = {**program, "bytes": str(_size(model.parameters()))}
        spec = {
            "model": name,
            "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
            "device": workers.device,
            "threads": workers.threads,
            "trainer": asdict(trainer),
            "optimizer": asdict(optimizer),
            "loss": asdict(loss),
            "sharding": {"stage": workers.stage, "offload": workers.offload},
            "program": program and dict(program),
            "teacher": teacher,
            "objective": objective,
        }
        self._connection = self._start(workers)
        about = wire.unpack(self._ask(wire.pack(spec)))[0]
        self.mode = about["mode"]
        count = workers.processes * workers.hosts
        self.mode_reason = f"{about['why']}, {count} processes, ZeRO-{workers.stage}"

    def _start(self, workers: Workers) -> Connection:
        door = Door()
        environment = os.environ | {
            "ZPPO_STEP": door.address,
            "ZPPO_STEP_KEY": door.key.hex(),
            "ZPPO_BACKEND": workers.backend,
            "ZPPO_DEVICE": workers.device,
            "OMP_NUM_THREADS": str(workers.threads),
            "DS_ACCELERATOR": workers.device,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *workers.command()],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        for other in range(1, workers.hosts):
            print(f"update: waiting for host {other}: {workers.elsewhere(other)}", flush=True)
        found = door.accept(1, PATIENCE, self.alive)
        door.close()
        if not found:
            self._end()
            raise self._dead("did not start")
        return found[0]

    def alive(self) -> bool:
        """Whether this host's workers run."""
        return self._process.poll() is None

    def _dead(self, what: str) -> UserError:
        lines = self._log.read_text(errors="replace")[-TAIL:].splitlines()
        errors = [line.strip() for line in lines if "Error" in line]
        ends = [line for line in lines if _ENDED.fullmatch(line)]
        # the first rank to end; others fail after it for want of it
        why = "; ".join([*ends[:1], *errors[-1:]]) or "no error in their log"
        return UserError(f"the update workers {what} ({why}); resume goes on at the last phase")

    def _ask(self, message: bytes) -> bytes:
        try:
            self._connection.send_bytes(message)
            while not self._connection.poll(0.5):
                if self._process.poll() is not None:
                    raise self._dead("died")
            answer = self._connection.recv_bytes()
        except (EOFError, OSError):
            self._process.wait(60)
            raise self._dead("died") from None
        said = wire.header_of(answer).get("error")
        if said is not None:
            raise UserError(said)
        return answer

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]:
        """See `Trainer.score`."""
        if not groups:
            return []
        return wire.scores_of(self._ask(wire.pack_groups({"command": "score"}, groups)))

    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics:
        """See `Trainer.update`."""
        if not groups:
            return NO_UPDATE
        message = wire.pack_groups({"command": "update", "tokens": tokens}, groups)
        return UpdateMetrics(**wire.unpack(self._ask(message))[0])

    def publish(self) -> None:
        """Bring the workers' weights into `model`."""
        from safetensors.torch import load_file

        named = dict(self.model.named_parameters())
        place = quick_folder(_size(named.values()))
        with tempfile.TemporaryDirectory(prefix="zppo-weights-", dir=place) as folder:
            path = str(Path(folder) / "weights.safetensors")
            message = {"command": "weights", "path": path, "everything": self._everything}
            self._ask(wire.pack(message))
            with torch.no_grad():
                for name, value in load_file(path).items():
                    named[name].copy_(value)

    def write_state(self, folder: Path) -> None:
        """See `Trainer.write_state`: the same files, whatever the number of workers."""
        path = folder / "optimizer.safetensors"
        self._ask(wire.pack({"command": "save", "path": str(path)}))
        group = adamw([torch.zeros(1)], self.settings).param_groups[0]
        settings = [{k: v for k, v in group.items() if k != "params"}]
        content = {"scalars": {}, "settings": settings}
        (folder / "optimizer.json").write_text(json.dumps(content, indent=1, sort_keys=True))

    def read_state(self, checkpoint: Checkpoint) -> None:
        """See `Trainer.read_state`: of any number of processes, one included."""
        from safetensors.torch import save_file

        state = checkpoint.read("optimizer.safetensors")
        weights = {n: p.detach().cpu() for n, p in self.model.named_parameters() if p.requires_grad}
        place = quick_folder(len(state) + _size(weights.values()))
        with tempfile.TemporaryDirectory(prefix="zppo-state-", dir=place) as folder:
            student, optimizer = Path(folder) / "student", Path(folder) / "optimizer"
            with writing("the state for the update workers", folder):
                save_file({n: w.contiguous() for n, w in weights.items()}, student)
                optimizer.write_bytes(state)
            self._ask(
                wire.pack({"command": "load", "student": str(student), "optimizer": str(optimizer)})
            )

    def close(self) -> None:
        """End the workers."""
        if self._process.poll() is None:
            try:
                self._connection.send_bytes(wire.pack({"command": "stop"}))
                self._process.wait(30)
            except (OSError, subprocess.TimeoutExpired):
                self._end()
        self._connection.close()
        self._folder.cleanup()

    def _end(self) -> None:
        """Have the launcher end its workers, which would outlive it and keep their GPUs."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _size(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of them all."""
    return sum(t.numel() * t.element_size() for t in tensors)


def workers_of(config: Config, rendezvous: str = "") -> Workers | None:
    """The processes that share the update; None: this process alone.

    `rendezvous` replaces that of the configuration.
    """
    c = config.compute
    processes = c.update_processes
    if processes == 0:
        processes = c.student_gpus if c.device == "cuda" else 1
    if processes == 1 and c.update_hosts == 1 and not c.offload:
        return None
    threads = max(1, (c.threads or os.cpu_count() or 1) // processes)
    return Workers(
        processes,
        c.device,
        c.zero_stage,
        c.offload,
        c.update_hosts,
        rendezvous or c.rendezvous,
        threads,
    )
