"""What a card does while a step computes: the journal into the database, then the card anew.

Both happen in a thread beside the training, the newest work only, so that a step never waits for
its picture.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from eval.report.connection import DatabaseInUseError
from eval.report.database import ingest_new
from zppo_core.run.spec import Run

SHARE = 10  # a card is drawn again after this many times what drawing and filing it took
FILING = 1.0  # seconds of a core that Metaflow's two processes take for every drawing
PATIENCE = 1.0  # seconds for another process that has the database open

Work = Callable[[], None]


class Beside:
    """Runs the newest of what it is given, in a thread; a fault is told once and stops nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._newest: Work | None = None
        self._ended = False
        self._told = ""
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Have `work` run soon, in place of what waits and has not begun."""
        with self._change:
            self._newest = work
            self._change.notify()

    def close(self) -> None:
        """Wait for what was given to be done."""
        with self._change:
            self._ended = True
            self._change.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._newest is not None or self._ended)
                work, self._newest = self._newest, None
            if work is None:
                return
            try:
                work()
            except Exception as fault:  # a picture that fails must not cost a training run
                text = f"{self.name}: {type(fault).__name__}: {fault}; training goes on"
                if text != self._told:
                    print(text, flush=True)
                self._told = text


class Feed:
    """Takes what a run's journal has gained into the database."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seconds = 0.0  # of all calls

    def take(self) -> str:
        """Empty if the database now holds all; else why it does not, and what happens next."""
        began = time.perf_counter()
        try:
            ingest_new(self.run.journal, self.run.key, self.run.database, wait=PATIENCE)
        except DatabaseInUseError as busy:
            return f"{busy}. The next step tries again."
        finally:
            self.seconds += time.perf_counter() - began
        return ""


class Pace:
    """When a card may be drawn again: it takes at most a tenth of a core."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Whether enough time has passed since the last drawing."""
        return time.monotonic() >= self._next

    def drawn(self, cost: float) -> None:
        """A drawing ended that took `cost` seconds."""
        self._next = time.monotonic() + SHARE * (FILING + cost)
