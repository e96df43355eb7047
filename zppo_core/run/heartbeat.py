"""Progress of what takes long: a line every few seconds, and whoever else listens."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

from zppo_core.algorithm.step_types import StepResult
from zppo_core.protocols import Progress

HEARTBEAT = 5.0  # seconds between lines of a phase that takes long
GLANCE = 0.2  # seconds between two drawings of a bar
WIDTH = 24  # signs of a bar


class Listener(Protocol):
    """Who hears of a run's progress: a card, a tracker, a test."""

    def working(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` prompts of `phase` are finished."""
        ...

    def finished(self, result: StepResult, seconds: dict[str, float]) -> None:
        """A rollout step is done; `seconds` by phase."""
        ...


class Heartbeat:
    """Progress of long phases: in a terminal a bar, elsewhere a line every few seconds.

    Both say the rate and the time left. A listener hears every few seconds.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.listener: Listener | None = None
        self._stream = stream or sys.stdout
        self._last = time.monotonic()

    def progress(self, phase: str) -> Progress:
        """Who is told how many prompts of `phase` are done."""
        live = self._stream.isatty()
        began = drawn = time.monotonic()
        first: int | None = None  # what was there before the first report: found, not made

        def report(done: int, total: int) -> None:
            nonlocal drawn, first
            now = time.monotonic()
            if first is None:
                first = done if done < total else 0
            text = status(phase, done, total, done - first, now - began)
            if live and (now - drawn >= GLANCE or done == total):
                drawn = now
                end = "\n" if done == total else ""
                self._stream.write(f"\r\x1b[K  {bar(done, total)} {text}{end}")
                self._stream.flush()
            if now - self._last < HEARTBEAT:
                return
            self._last = now
            if not live:
                print(f"  {text}", file=self._stream, flush=True)
            if self.listener is not None:
                self.listener.working(phase, done, total)

        return report


def bar(done: int, total: int) -> str:
    """How far, as signs: [######......]."""
    filled = WIDTH * done // total if total else WIDTH
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"


def status(phase: str, done: int, total: int, counted: int, seconds: float) -> str:
    """How far a phase is; its rate and the time left once `counted` prompts took some `seconds`."""
    text = f"{phase}: {done:,} of {total:,} prompts"
    if counted <= 0 or seconds < 1 or done >= total:
        return text
    rate = counted / seconds
    return f"{text}, {rate:.3g} a second, {in_words((total - done) / rate)} left"


def in_words(seconds: float) -> str:
    """Time [s] as one says it: 40 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
