"""A CPU's model work shared among workers of one thread, forks of the process that trains."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zppo_core import models
from zppo_core.config import Config
from zppo_core.config.schema import workers_asked
from zppo_core.engines.base import kind_of
from zppo_core.engines.hf import HfEngine
from zppo_core.errors import UserError
from zppo_core.processes.crew import Crew, NoCrewError, Task
from zppo_core.protocols import Engine

if TYPE_CHECKING:
    from zppo_core.training.updater import Trainer

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt
KEPT = 1 << 30  # bytes: the system clears every page that is given back and asked for again
GRADIENTS, PART = 4, 0.25  # of two workers, and the part of `compute.memory_mb` that they may take


def fitting(config: Config) -> Config:
    """The configuration without workers where the student is too large for their gradients.

    That hangs on the model and on `compute.memory_mb`, and not on the number of workers.
    """
    if workers_asked(config) == 0:
        return config
    import torch

    width = getattr(torch, config.student.dtype).itemsize
    weights = models.shape(config.student.model)[0] * width
    if GRADIENTS * weights <= PART * config.compute.memory_mb * 1e6:
        return config
    print(
        f"workers: none for weights of {weights / 1e6:.0f} MB, threads do the work; gradients of "
        f"workers may take a quarter of compute.memory_mb={config.compute.memory_mb}",
        flush=True,
    )
    return replace(config, compute=replace(config.compute, workers=0))


def crew_size(config: Config) -> tuple[int, str]:
    """How many workers share the work of a run without Ray, and why; 1: this process alone."""
    if sys.platform != "linux":
        return 1, "only on Linux can a process with a model be forked"
    return max(workers_asked(config), 1), "compute.workers"


def share_out(config: Config, trainer: Trainer, engines: Sequence[Engine]) -> Crew | None:
    """Fork the workers of a run and have `trainer` and `engines` work in them; None: no need to.

    The student lies in shared memory then, so that its workers see each update. Where forks cannot
    work, the process goes on alone, which gives the same weights, and says so.
    """
    count, why = crew_size(config)
    if count == 1:
        return None
    from zppo_core.models.shared import share
    from zppo_core.training.pass_runner import CrewRunner, WorkerPasses, gradient_places

    places = gradient_places(trainer, count)
    share(trainer.model)
    passes = WorkerPasses(trainer, places)
    samplers = [engine for engine in engines if isinstance(engine, HfEngine)]
    decoders = {f"decode {i}": engine.decode for i, engine in enumerate(samplers)}
    tasks: Mapping[str, Task] = {"backward": passes.backward, "scores": passes.scores, **decoders}
    try:
        crew = Crew(count, tasks, one_thread, config.compute.patience)
    except NoCrewError as error:
        print(f"workers: none, one process does it all ({error})", flush=True)
        return None
    for task, engine in zip(decoders, samplers, strict=True):
        engine.work_in(crew, task)
    trainer.runner = CrewRunner(trainer, crew, places)
    print(f"workers: {count} processes of one thread ({why})", flush=True)
    return crew


def crew_for(config: Config, tasks: Mapping[str, Task]) -> Crew | None:
    """As many workers as share the rollouts, for work that loads models of its own; None: alone."""
    count, _ = crew_size(fitting(config))
    if count == 1 or not kind_of(config).in_process:
        return None
    with contextlib.suppress(NoCrewError):
        return Crew(count, tasks, one_thread)
    return None


def one_thread() -> None:
    """Set a fork up: one thread, memory that is kept, and a gradient as a trial.

    UserError where the process has made gradients, and torch a thread for each GPU to make them.
    """
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(parameter, KEPT)
    try:
        torch.ones(1, requires_grad=True).sum().backward()
    except RuntimeError:
        raise UserError("this Python has made gradients, beside a GPU") from None
