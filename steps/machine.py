"""The machine that a flow's steps ask for, and how many of its tasks run at once."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from steps.early import Arguments
from zppo_core.config import load
from zppo_core.errors import UserError


@dataclass(frozen=True)
class Machine:
    """What a step that runs a model needs."""

    gpu: int
    cpu: int
    memory: int  # MiB
    shared_memory: int  # MiB of /dev/shm: weights on their way, and NCCL

    @property
    def needs(self) -> dict[str, int]:
        """The arguments of Metaflow's `@resources`."""
        return asdict(self)


def machine(arguments: Arguments) -> Machine:
    """The machine of the named preset, or of nano if the configuration does not resolve.

    Metaflow reads the flow file for many commands that carry no options of ours; a fault is
    reported by `steps.launch.prepare_process`, not here.
    """
    try:
        compute = arguments.resolved.config.compute
    except UserError:
        compute = load("nano").compute
    gpus = compute.student_gpus + compute.teacher_gpus
    return Machine(gpus, compute.cpus, compute.memory_mb, compute.memory_mb // 4)


def workers(arguments: Arguments, elsewhere: bool) -> int:
    """Tasks at once: one where they share this machine's GPUs, else as many as there are cores.

    Metaflow's own 16 would not fit a small machine's memory.
    """
    from zppo_core.run.preflight import gpu_memory  # numpy: 0.1 s, and most commands want no GPU

    try:
        device = arguments.resolved.config.compute.device
    except UserError:  # reported by `prepare_process`, or by the flow
        device = "cpu"
    shared = not elsewhere and device == "cuda" and bool(gpu_memory())
    return 1 if shared else os.cpu_count() or 1
