"""What a stage of the flow cost in wall time, recorded once in the run's journal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zppo_core.records.schema import encode
from zppo_core.run.spec import Run

OUTSIDE = -1  # the step number of what happens outside rollout steps


def seconds_alive() -> float:
    """Seconds since this process started: a task's own start and imports count as its stage's."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return time.process_time()  # not Linux: what is known without a library
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def stopwatch(alone: bool) -> Callable[[], float]:
    """Seconds of a stage until it is asked: those of the process if it has no other stage."""
    began = time.monotonic()
    return seconds_alive if alone else lambda: time.monotonic() - began


def record_stage(
    run: Run,
    name: str,
    model_seconds: float | None = None,
    costs: Iterable[Mapping[str, Any]] = (),
    seconds: float | None = None,
) -> None:
    """Commit the time of stage `name` ("epoch/12" is a part of "epoch"); a second call is a no-op.

    `costs` are rows of the costs table without run and step; `seconds` are those of this process if
    it has no other stage.
    """
    unit = f"stage/{name}"
    if run.journal.manifest(unit) is not None:
        return
    key = {"run_key": run.key, "step": OUTSIDE}
    row = {
        **key,
        "phase": name,
        "model_seconds": model_seconds,
        "seconds": seconds_alive() if seconds is None else seconds,
    }
    files = {"phases.parquet": encode("phases", [row])}
    spent = [{**key, **cost} for cost in costs]
    if spent:
        files["costs.parquet"] = encode("costs", spent)
    run.journal.commit(unit, files)
