"""A run's place on its Ray: nodes, ranks and engines, from their start to their end."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group

from zppo_core.cluster.actors import Actor, answers, start
from zppo_core.cluster.connect import connect, place_nodes
from zppo_core.cluster.engines import EngineHost
from zppo_core.cluster.head import HeadWatch
from zppo_core.cluster.layout import Place, Workers
from zppo_core.cluster.ranks import Rank
from zppo_core.config import Config
from zppo_core.errors import UserError
from zppo_core.processes.loopback import LOOPBACK


@dataclass
class Cluster:
    """A run's share of its Ray: its nodes, and its actors, which start at once.

    UserError if Ray is missing, does not let this process in, or has less than is asked for.
    """

    config: Config
    workers: Workers
    nodes: list[tuple[Any, list[Place]]] = field(init=False)
    ranks: list[Actor] = field(init=False)
    engines: list[tuple[Actor, Place]] = field(init=False)

    def __post_init__(self) -> None:
        self._started = connect(self.config, self.workers)
        try:
            self.nodes = place_nodes(self.config, self.workers)
        except UserError:
            if self._started:
                ray.shutdown()
            raise
        self._watch = HeadWatch()
        w, self.alone = self.workers, self.workers.hosts == 1
        told = {"DS_ACCELERATOR": w.device, "OMP_NUM_THREADS": str(w.threads), "LOCAL_RANK": "0"}
        told |= LOOPBACK if self.alone else {}
        where = [
            (node, group, at, place)
            for node, (group, places) in enumerate(self.nodes)
            for at, place in enumerate(places)
        ]
        learners = [at for at in where for _ in range(at[3].ranks)]
        self.ranks = [start(Rank, f"rank {i}", *at, told) for i, at in enumerate(learners)]
        sampling = {"OMP_NUM_THREADS": str(self.threads)}
        self.engines = [
            (start(EngineHost, f"engine {at[2]} of node {at[0]}", *at, sampling), at[3])
            for at in where
            if at[3].engine
        ]
        self._place = ""

    @property
    def threads(self) -> int:
        """Torch threads of each engine."""
        count = sum(place.engine for _, places in self.nodes[:1] for place in places)
        return self.config.compute.threads or max(1, (os.cpu_count() or 1) // max(count, 1))

    def meet(self) -> list[Actor]:
        """The ranks, as one process group."""
        if not self._place:
            first, w = self.ranks[0], self.workers
            (self._place,) = answers([first], [first.ask("place", self.alone)])
            at = w.backend, self._place
            calls = [r.ask("meet", *at, i, w.count, w.device) for i, r in enumerate(self.ranks)]
            answers(self.ranks, calls)
        return self.ranks

    def close(self) -> None:
        """End all actors, and the Ray if it was started for them."""
        for actor in (*self.ranks, *(engine for engine, _ in self.engines)):
            ray.kill(actor.handle)
        for group in {id(group): group for group, _ in self.nodes}.values():
            remove_placement_group(group)
        if self._place.startswith("/"):  # where the ranks are of this machine
            shutil.rmtree(Path(self._place).parent, ignore_errors=True)
        self._watch.stop()
        if self._started:
            ray.shutdown()
