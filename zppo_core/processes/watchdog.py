"""Ends work that gives no sign of life for too long: by an error, or with the process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from zppo_core.errors import UserError, complain

HUNG = (
    "look at the engine's log and at the GPU, then `resume`; compute.patience is how long is waited"
)
ALARM = signal.SIGUSR1  # raises the error in the main thread
GRACE = 60.0  # seconds that the main thread has to end by it; code in C may never look


@dataclass
class _Work:
    """Something that is waited for, and when it last gave a sign of life."""

    name: str
    last: float = field(default_factory=time.monotonic)

    def sign(self) -> None:
        self.last = time.monotonic()


class Watchdog:
    """A context in which each `over` may be silent for `patience` seconds; 0: for ever.

    Then the main thread is interrupted with a UserError of one line. Where it has not left the
    context after `grace` seconds more, because code in C hangs, the line is printed and the process
    ends: a run goes on from what it has committed. Outside of the main thread only this is left.
    """

    def __init__(
        self,
        patience: float,
        remedy: str,
        grace: float = GRACE,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self.patience, self.remedy, self.grace, self._end = patience, remedy, grace, end
        self._open: list[_Work] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._line = ""
        self._in_main = False
        self._before: Any = signal.SIG_DFL
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, name: str) -> Iterator[Callable[[], None]]:
        """Watch what runs inside; calling what is given is a sign of life. Of any thread."""
        work = _Work(name)
        with self._lock:
            self._open.append(work)
        try:
            yield work.sign
        finally:
            with self._lock:
                self._open = [w for w in self._open if w is not work]

    def __enter__(self) -> Watchdog:
        if not self.patience:
            return self
        self._stop.clear()
        self._in_main = threading.current_thread() is threading.main_thread()
        if self._in_main:
            self._before = signal.signal(ALARM, self._interrupt)
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        in_main, self._in_main = self._in_main, False  # an alarm now would tell nobody
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if in_main:
            signal.signal(ALARM, self._before or signal.SIG_DFL)

    def _interrupt(self, number: int, frame: Any) -> None:
        raise UserError(self._line)

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self.patience / 10)):
            now = time.monotonic()
            with self._lock:
                late = [w for w in self._open if now - w.last > self.patience]
            if late:
                self._strike(late[0], now - late[0].last)
                return

    def _strike(self, work: _Work, silent: float) -> None:
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - silent))
        self._line = (
            f"{work.name}: nothing came back for {silent:.0f} s, since {since}; {self.remedy}"
        )
        if self._stop.is_set():
            return
        if self._in_main:
            signal.pthread_kill(threading.main_thread().ident or 0, ALARM)
            if self._stop.wait(self.grace):
                return
        complain(UserError(self._line))
        self._end(1)
