"""Small runs with workers, in a Python that has made no gradient yet: JSON lines.

python crew_run.py FOLDER {numbers|evaluate|kill rollouts|kill update}
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import same_run
import torch
from whole_run import opened, trained

from eval import pipeline, scores
from zppo_core.engines.hf import HfEngine
from zppo_core.errors import UserError
from zppo_core.run import heartbeat, loop, sharing
from zppo_core.run.session import Session
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.training.pass_runner import WorkerPasses

SETS = {
    "run.rollout_steps": 3,
    "run.steps_per_task": 2,
    "compute.threads": 0,
    "rollout.new_prompts": 8,
    "rollout.group_size": 8,
    "trainer.token_budget": 512,
}


class Heard:
    """Progress by phase, as a card has it."""

    def __init__(self) -> None:
        self.phases: dict[str, list[tuple[int, int]]] = {}

    def working(self, phase: str, done: int, total: int) -> None:
        self.phases.setdefault(phase, []).append((done, total))

    def finished(self, *given: object) -> None:
        """Nothing to draw."""


def digests(run: Run) -> dict[str, str]:
    """Weights, optimizer, state and journal, without times; the run's own row has its settings."""
    folder = Path(run.store_url).parent
    files = (folder / "runs" / run.key / "checkpoints").rglob("*")
    made = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()}
    made |= same_run.journal_digests(run.journal, str(folder))
    return {name: digest for name, digest in made.items() if not name.startswith("journal/run/")}


def small(folder: Path, workers: int, sets: Mapping[str, object] | None = None) -> Run:
    """The run below `folder`, at its beginning or where it was."""
    return opened(folder, {**SETS, "compute.workers": workers, **(sets or {})})


def numbers(folder: Path) -> None:
    """The same run with three, two and one process; and begun with two, finished by one."""
    heartbeat.HEARTBEAT = 0.0
    beside, sessions = Heard(), list[Session]()

    def listening(session: Session) -> Heard:
        sessions.append(session)
        return beside

    for workers in (3, 2):
        run = small(folder / str(workers), workers)
        done = 0
        while done < run.rollout_steps:
            done = loop.advance(run, done, listening)
        line = {"workers": workers, "digests": digests(run), "progress": beside.phases}
        print(json.dumps(line), flush=True)
    half = small(folder / "half", 2)
    loop.advance(half, 0)
    for name, workers in (("half", 1), ("1", 1)):
        run = small(folder / name, workers)
        trained(run)
        print(json.dumps({"workers": name, "digests": digests(run)}), flush=True)
    torch.set_num_threads(2)  # a fork has none of the threads that begin here
    torch.ones(999, 999) @ torch.ones(999, 999)
    late = small(folder / "late", 2)
    loop.advance(late, 0, listening)
    sharing.one_thread = refused  # as where torch has threads of its own for gradients
    trained(late)
    print(json.dumps({"workers": "late", "digests": digests(late)}), flush=True)
    assert [session.crew is None for session in sessions] == [False] * 5


def refused() -> None:
    """No fork of this process works."""
    raise UserError("this Python has made gradients before")


def killed(folder: Path, phase: str) -> None:
    """A worker dies in the second step; the run goes on."""
    calls = folder / "calls"
    calls.mkdir()

    places = {"rollouts": (HfEngine, "decode", 12), "update": (WorkerPasses, "backward", 7)}
    owner, name, last = places[phase]
    inner = getattr(owner, name)

    def dying(self: object, *given: object) -> object:
        number = len(list(calls.iterdir()))
        (calls / f"{number}-{os.getpid()}").touch()
        if number >= last:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(self, *given)

    setattr(owner, name, dying)
    run = small(folder / "killed", 2)
    try:
        trained(run)
    except UserError as fault:
        latest = latest_checkpoint(run.store, run.key)
        step = 0 if latest is None else latest.step
        print(json.dumps({"fault": str(fault), "step": step}), flush=True)
    setattr(owner, name, inner)
    trained(run)
    print(json.dumps({"digests": digests(run)}), flush=True)
    run = small(folder / "whole", 2)
    trained(run)
    print(json.dumps({"digests": digests(run)}), flush=True)


def evaluated(folder: Path) -> None:
    """The evaluation of one student, its shares by two workers and by none."""
    sets = {
        "evaluation.suite": "nano_text,nano_frames,nano_rows",
        "evaluation.tasks": 0,
        "evaluation.limit": 8,
        "run.rollout_steps": 1,
    }
    evaluate = scores.evaluate

    def noted(*given: Any, **named: Any) -> Any:
        (folder / "pids" / str(os.getpid())).touch()
        return evaluate(*given, **named)

    scores.evaluate = noted
    for workers in (2, 1):
        run = small(folder / str(workers), workers, sets)
        trained(run)
        shutil.rmtree(folder / "pids", ignore_errors=True)
        (folder / "pids").mkdir()
        pipeline.evaluate(run)
        pids = {int(path.name) for path in (folder / "pids").iterdir()}
        line = {"here": os.getpid() in pids, "processes": len(pids), "digests": digests(run)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2] == "numbers":
        numbers(place)
    elif sys.argv[2] == "evaluate":
        evaluated(place)
    else:
        killed(place, sys.argv[3])
