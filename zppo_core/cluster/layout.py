"""Which processes a run asks for. Imports no Ray: a run of one process goes without it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from zppo_core.config import Config
from zppo_core.config.schema import has_ranks, node_ranks
from zppo_core.engines.base import kind_of


@dataclass(frozen=True)
class Workers:
    """The ranks that share the update: `processes` on each of `hosts` nodes, ZeRO of `stage`."""

    processes: int
    device: str = "cpu"
    stage: int = 2
    offload: bool = False
    hosts: int = 1
    threads: int = 1

    @property
    def count(self) -> int:
        """Of all nodes."""
        return self.processes * self.hosts

    @property
    def backend(self) -> str:
        return "nccl" if self.device == "cuda" else "gloo"


def workers_of(config: Config) -> Workers | None:
    """The ranks of a run; None: its update stays in the step's own process, without Ray."""
    if not has_ranks(config):
        return None
    c, processes = config.compute, node_ranks(config)
    threads = max(1, (c.threads or os.cpu_count() or 1) // processes)
    return Workers(processes, c.device, c.zero_stage, c.offload, c.update_hosts, threads)


@dataclass(frozen=True)
class Place:
    """A part of a node that processes share: its GPUs, and who is there."""

    gpus: int
    ranks: int = 0
    student: bool = False
    teachers: bool = False

    @property
    def engine(self) -> bool:
        """Whether an engine is there."""
        return self.student or self.teachers

    @property
    def part(self) -> float:
        """Of its GPUs for each of its processes: an engine sleeps while a rank computes."""
        return self.gpus / max(self.ranks + self.engine, 1)


def splits(config: Config, workers: Workers) -> bool:
    """Whether ranks have student GPUs of their own, and engines the others: `compute.staleness`."""
    c = config.compute
    return c.staleness > 0 and workers.processes < c.student_gpus


def overlaps(config: Config, workers: Workers | None) -> bool:
    """Whether the student samples while ranks update: other processes, and no GPU of both."""
    if workers is None or config.compute.staleness == 0:
        return False
    return config.compute.device != "cuda" or splits(config, workers)


def places_of(config: Config, workers: Workers) -> list[Place]:
    """The places of every node: an engine and a rank on each student GPU, teachers beside them.

    On a CPU one place takes all. Engines that run the trainer's own model stay in the step's
    process, unless several nodes sample. Where GPUs are split, engines are behind the ranks.
    """
    c = config.compute
    apart = workers.hosts > 1 or not kind_of(config).in_process
    teachers = apart and not config.teacher.endpoint
    if c.device != "cuda":
        return [Place(0, workers.processes, apart, teachers)]
    beside = teachers and c.teacher_gpus == 0
    each = -(-workers.processes // max(c.student_gpus, 1))
    first = workers.processes if splits(config, workers) else 0  # GPU with an engine
    spots = [
        Place(
            1,
            max(0, min(each, workers.processes - i * each)),
            apart and i >= first,
            beside and i == first,
        )
        for i in range(c.student_gpus)
    ]
    width = c.teacher_tensor_parallel or max(c.teacher_gpus, 1)
    if teachers:
        spots += [Place(width, teachers=True) for _ in range(c.teacher_gpus // width)]
    return spots
