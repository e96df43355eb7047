"""Progress of what takes long: a line every few seconds, and whoever else listens."""

from __future__ import annotations

import time
from typing import Protocol

from zppo_core.algorithm.step_types import StepResult
from zppo_core.protocols import Progress

HEARTBEAT = 5.0  # seconds between lines of a phase that takes long


class Listener(Protocol):
    """Who hears of a run's progress: a card, a tracker, a test."""

    def working(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` prompts of `phase` are finished."""
        ...

    def finished(self, result: StepResult, seconds: dict[str, float]) -> None:
        """A rollout step is done; `seconds` by phase."""
        ...


class Heartbeat:
    """Progress of long phases: a line every few seconds, and the card."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._last = time.monotonic()

    def progress(self, phase: str) -> Progress:
        def report(done: int, total: int) -> None:
            now = time.monotonic()
            if now - self._last < HEARTBEAT:
                return
            self._last = now
            print(f"  {phase}: {done} of {total} prompts", flush=True)
            if self.listener is not None:
                self.listener.working(phase, done, total)

        return report
