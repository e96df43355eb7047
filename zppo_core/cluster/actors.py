"""Actors of a run: where they are started, how they are asked, and what is said of a dead one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayActorError, RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from zppo_core.cluster.connect import TENSORS
from zppo_core.cluster.head import head_address, last_error, of_head, unanswered
from zppo_core.cluster.layout import Place
from zppo_core.errors import UserError
from zppo_core.extensions import one_line

CALLS = 64  # of an engine at the same time: requests join while others are at work
OTHERS = 20.0  # seconds in which it shows which of several actors failed first
AWAY = re.compile(r"temporarily (unavailable: .+?) rpc_code")  # of a node that went away
DETAIL = re.compile(r"Worker exit detail: (.+?)\.? (?:Some common causes|$)")


@dataclass(frozen=True)
class Actor:
    """An actor by the name that its faults are told with, on node number `node` of the run's."""

    name: str
    node: int
    handle: Any  # Ray makes its methods

    def ask(self, method: str, *arguments: object, **options: object) -> Any:
        """Begin a call; `answers` waits for it. `options` are Ray's."""
        return getattr(self.handle, method).options(**options).remote(*arguments)


def start(
    kind: type, name: str, node: int, group: Any, at: int, place: Place, told: dict[str, str]
) -> Actor:
    """Start an actor in place number `at` of a node, in its placement group; it does not wait.

    A bundle of the group is a place with GPUs, or on CPUs a node. `told` are variables of the
    actor's environment. It shares the place's GPUs with who else is there.
    """
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **TENSORS, **told}
    remote_kind: Any = ray.remote(kind)
    handle = remote_kind.options(
        num_cpus=0,
        num_gpus=place.part,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, at if place.gpus else node),
        runtime_env={"env_vars": variables},
        max_concurrency=1 if name.startswith("rank") else CALLS,
    ).remote()
    return Actor(name, node, handle)


def answers(actors: Sequence[Actor], refs: Sequence[Any]) -> list[Any]:
    """What all have answered, in their order; UserError with the first fault, as one line.

    When one dies the others fail for want of it: the dead one is named.
    """
    waiting = list(refs)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        if fault_of(done[0]) is None:
            continue
        ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=OTHERS)
        faults = [(a, fault_of(r)) for a, r in zip(actors, refs, strict=True) if r in ready]
        raise min((told(a, e) for a, e in faults if e is not None), key=lambda t: t[0])[1]
    values: list[Any] = ray.get(list(refs))
    return values


def fault_of(ref: Any) -> RayError | None:
    """How a call that has ended failed; None if it did not."""
    try:
        ray.get(ref)
    except RayError as error:
        return error
    return None


def told(actor: Actor, error: RayError) -> tuple[int, UserError]:
    """One line on a fault, and its rank among others: a death comes before what it brings about."""
    cause = getattr(error, "cause", None) or error
    if isinstance(error, RayActorError):
        if why := unanswered(head_address()):
            return -1, UserError(of_head(head_address(), why))
        line = f"{actor.name} died ({death(error)}); resume goes on at the last phase"
        return 0, UserError(line)
    if isinstance(cause, UserError):
        return 1, cause
    if isinstance(cause, (ObjectStoreFullError, OutOfDiskError)):
        return 2, UserError(
            f"{actor.name}: Ray's store has no room ({one_line(cause)[:150]}); give /dev/shm or "
            "its disk more free space, then `resume`"
        )
    return 3, UserError(f"{actor.name}: {one_line(cause)}")


def death(error: RayActorError) -> str:
    """How an actor's process ended by Ray's account, and the last error in what it said here."""
    text = " ".join(str(error).split())
    match = DETAIL.search(text) or AWAY.search(text)
    how = match[1] if match else text[:200]
    pid = re.search(r"pid: (\d+)", text)
    ending = last_error(f"worker-*-{pid[1]}.err") if pid else ""
    return f"{how}; {ending}" if ending else how
