"""Work that goes on beside what is done here, each piece as soon as what it needs is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
GRACE = 20.0  # seconds that pieces at work have to end once one has failed


class Background:
    """Pieces of work, each in a thread of its own; they may wait for each other and begin others.

    What is done here is keyed by what it is done for, so that when it is done changes nothing. The
    first fault is that of every piece which has not ended: whoever waits for one hears of it. On
    the way out all that has begun is waited for, after a fault only for a while.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._threads: list[threading.Thread] = []
        self._fault: BaseException | None = None

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Begin `work`; raises the fault if there is one already."""
        future: Future[T] = Future()
        thread = threading.Thread(
            # a thread that waits for a model must not hold the end of the process
            target=self._run,
            args=(work, future),
            name="background",
            daemon=True,
        )
        with self._lock:
            if self._fault is not None:
                raise self._fault
            self._open.add(future)
            self._threads.append(thread)
            thread.start()
        return future

    def check(self) -> None:
        """Raise the fault if there is one."""
        if self._fault is not None:
            raise self._fault

    def _run(self, work: Callable[[], T], future: Future[T]) -> None:
        try:
            value = work()
        except BaseException as error:  # raised where the piece is waited for
            self._fail(error)
            return
        with self._lock:
            if future in self._open:  # else it has the fault of another
                self._open.remove(future)
                future.set_result(value)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._fault = self._fault or error
            while self._open:
                self._open.pop().set_exception(self._fault)

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._fail(error)
        until = time.monotonic() + GRACE
        while self._threads:  # one that is waited for may begin others
            thread = self._threads.pop()
            thread.join(None if self._fault is None else max(0.0, until - time.monotonic()))
        if error is None:
            self.check()
