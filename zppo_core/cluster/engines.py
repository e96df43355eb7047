"""Engines as actors: one in each place of each node that has any, all of a role as one pool."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from zppo_core import models
from zppo_core.cluster.actors import Actor, answers, told
from zppo_core.cluster.layout import Place
from zppo_core.config import Config
from zppo_core.engines.base import StreamingEngine, kind_of
from zppo_core.engines.factory import Teacher, student_engine, teachers
from zppo_core.engines.pool import EnginePool
from zppo_core.models.threads import set_threads
from zppo_core.processes.startup import hurry
from zppo_core.protocols import Engine, Finished, Progress, Sampling
from zppo_core.types import Prompt

if TYPE_CHECKING:
    import torch


STUDENT = "student"


def plain(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights for Ray's store, which copies those of a GPU and knows no parameters."""
    return {name: weight.detach().cpu() for name, weight in weights.items()}


@dataclass(frozen=True)
class About:
    """What an engine says of itself, and what its model counts."""

    name: str
    version: int
    context: int
    parameters: int = 0
    joins: bool = False


class StagedWeights(UserDict[str, "torch.Tensor"]):
    """Weights in the stores of several nodes, `refs` by node; read here from the first."""

    def __init__(self, refs: Sequence[Any], nbytes: int) -> None:
        self.refs, self.nbytes = list(refs), nbytes

    @cached_property
    def data(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        tensors: dict[str, torch.Tensor] = ray.get(self.refs[0])
        return tensors


class EngineHost:
    """The actor: engines by role, which the configuration opens as a process alone would."""

    engines: dict[str, Engine]

    def __init__(self) -> None:
        hurry()
        import torch  # noqa: F401 - seconds, while the step loads its own models

    def node(self) -> tuple[str, int]:
        """Ray's name of the node, and the process."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def open(self, config: Config, student: bool, helpers: bool, judging: bool) -> dict[str, About]:
        """Load the student's engine, or the teachers', or both; what each says of itself."""
        import torch

        set_threads(config)
        if kind_of(config).in_process:
            dtype = getattr(torch, config.student.dtype)
            model, renderer = models.load(config.student.model, dtype, config.compute.device)
        else:
            _, vocab, images = models.shape(config.student.model)
            model, renderer = None, models.load_renderer(config.student.model, vocab, images)
        self.engines, counts = {}, {}
        if student:
            self.engines[STUDENT] = student_engine(config, model, renderer)
        for i, teacher in enumerate(teachers(config, renderer, judging) if helpers else ()):
            self.engines[f"teacher {i}"] = teacher.engine
            counts[f"teacher {i}"] = teacher.parameters
        return {
            role: About(e.name, e.version, e.context, counts.get(role, 0), e.joins)
            for role, e in self.engines.items()
        }

    def stream(
        self, role: str, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> Iterator[list[Finished]]:
        """What is finished, as it goes on."""
        yield from self.engines[role].stream(prompts, sampling, seeds)

    def load_weights(self, role: str, weights: dict[str, torch.Tensor], version: int) -> None:
        """Take weights that lie in this node's store."""
        self.engines[role].load_weights(weights, version)

    def sleep(self, role: str, replaced: bool) -> None:
        """Leave the GPU to the ranks."""
        self.engines[role].sleep(replaced)

    def close(self) -> None:
        """End the engines' own processes."""
        for engine in self.engines.values():
            engine.close()


class ActorEngine(StreamingEngine):
    """`engines.base.Engine` of a role in an actor."""

    def __init__(self, actor: Actor, role: str, facts: About) -> None:
        self.actor, self.role = actor, role
        self.name, self.version = facts.name, facts.version
        self._context, self._joins = facts.context, facts.joins

    @property
    def context(self) -> int:
        return self._context

    @property
    def joins(self) -> bool:
        return self._joins

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """What the actor's engine has finished; UserError if it has died or its engine failed."""
        if not prompts:
            return
        asked = self.role, list(prompts), sampling, list(seeds)
        finished = 0
        try:
            for ref in self.actor.ask("stream", *asked, num_returns="streaming"):
                together: list[Finished] = ray.get(ref)
                finished += len(together)
                if progress is not None:
                    progress(finished, len(prompts))
                yield together
        except RayError as error:
            raise told(self.actor, error)[1] from None

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Have the engine take weights: those staged on its node, or these, put there."""
        if isinstance(weights, StagedWeights):
            ref = weights.refs[self.actor.node]
        else:
            ref = ray.put(plain(weights))
        answers([self.actor], [self.actor.ask("load_weights", self.role, ref, version)])
        self.version = version

    def sleep(self, replaced: bool = False) -> None:
        """Have it leave its GPU to the update, if it can."""
        answers([self.actor], [self.actor.ask("sleep", self.role, replaced)])

    def close(self) -> None:
        """Its process ends with the cluster's."""


def open_engines(
    config: Config, hosts: Sequence[tuple[Actor, Place]], threads: int, judging: bool
) -> tuple[Engine | None, list[Teacher]]:
    """The student's engines and each teacher's as one; None and none where this process has them.

    `hosts` are the actors and where they are, each of so many torch `threads`. UserError if one
    cannot be opened.
    """
    actors, calls = [], []
    for actor, place in hosts:
        # each actor sees the GPUs of its own place: an engine on all of them
        compute = replace(
            config.compute,
            student_gpus=int(place.student),
            teacher_gpus=0 if place.student else place.gpus,
            teacher_tensor_parallel=0,
            threads=threads,
        )
        there = replace(config, compute=compute)
        calls.append(actor.ask("open", there, place.student, place.teachers, judging))
        actors.append(actor)
    by_role: dict[str, list[ActorEngine]] = {}
    counts: dict[str, int] = {}
    for actor, abouts in zip(actors, answers(actors, calls), strict=True):
        for role, facts in abouts.items():
            by_role.setdefault(role, []).append(ActorEngine(actor, role, facts))
            counts[role] = facts.parameters
    pools: dict[str, Engine] = {
        role: engines[0] if len(engines) == 1 else EnginePool(engines)
        for role, engines in by_role.items()
    }
    helpers = []
    for i, name in enumerate([config.teacher.model, *config.teacher.more_models]):
        if (role := f"teacher {i}") in pools:
            _, vocab, images = models.shape(name)
            loaded = models.load_renderer(name, vocab, images)
            helpers.append(Teacher(pools[role], loaded, None, counts[role]))
    return pools.get(STUDENT), helpers
