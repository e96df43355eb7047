"""What a task takes beside its work: Metaflow's start, imports, the filing of its card, its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zppo_core.errors import UserError

FLOW = """
import os, time
from metaflow import FlowSpec, card, step
from zppo_core.run.timing import seconds_alive

def note(name):
    with open(os.path.join(os.environ["ALIVE"], name + ".alive"), "w") as file:
        file.write(f"{time.time()} {seconds_alive()}")

class TimedFlow(FlowSpec):
    @step
    def start(self):
        note("start")
        self.next(self.middle)
    @card(type="blank")
    @step
    def middle(self):
        note("middle")
        self.next(self.end)
    @step
    def end(self):
        note("end")

if __name__ == "__main__":
    TimedFlow()
"""
# what a task with a model imports, and when it has
IMPORTS = """
import torch
from zppo_core.models.lean import spare_scikit
spare_scikit()
import transformers.models.qwen3_5.modeling_qwen3_5
import zppo_core.run.session, zppo_core.run.loop, eval.scores
from zppo_core.run.timing import seconds_alive
print(seconds_alive())
"""
FILED = 2  # how often a task's card is filed at least: while it runs, and at its end


@dataclass(frozen=True)
class TaskTimes:
    """Seconds of the parts of a task that are not its work."""

    task: float  # a Metaflow task that does nothing
    alive: float  # of it until its own code
    card: float  # the filings of a card
    imports: float  # from a process's start until models can be opened
    ending: float  # from a process's last line until it is gone, with all that it imported

    @property
    def outside(self) -> float:
        """Of a task with a model what its own clock does not see: it looks last before the end."""
        return max(self.task - self.alive, 0.0) + self.card + self.ending


def task_times() -> TaskTimes:
    """Measured by a flow of three tasks and by a process that imports."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "timed_flow.py")
        file.write_text(FLOW, encoding="utf-8")
        environment = os.environ | {"METAFLOW_DATASTORE_SYSROOT_LOCAL": folder, "ALIVE": folder}
        environment.setdefault("METAFLOW_USER", "zppo")
        path = [str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        clock, _ = timed([sys.executable, str(file), "run"], folder, environment)
        notes = [Path(folder, f"{name}.alive").read_text() for name in ("start", "middle", "end")]
    began, alive = zip(*([float(word) for word in note.split()] for note in notes), strict=True)
    # from one task's code to the next one's is a task, and once with a card
    once = max((began[2] - began[1]) - (began[1] - began[0]), 0.0)
    whole, printed = timed([sys.executable, "-c", IMPORTS])
    imports = float(printed)
    return TaskTimes(
        task=(clock - once) / 3,
        alive=sum(alive) / 3,
        card=FILED * once,
        imports=imports,
        ending=max(whole - imports, 0.0),
    )


def timed(
    command: Sequence[str], folder: str = "", environment: dict[str, str] | None = None
) -> tuple[float, str]:
    """Seconds of a command, and what it printed; UserError if it fails."""
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder or None, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"a task could not be timed ({why}); is the environment whole?")
    return time.monotonic() - began, done.stdout
