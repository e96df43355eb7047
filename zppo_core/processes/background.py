"""Work of one role that goes on while another samples: neither waits for the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundQueue(Generic[T]):
    """Pieces of work in the background, one after the other in the order of submission.

    What is done here is keyed by what it is done for, so that when it is done changes nothing. On
    the way out what has not begun is dropped; what runs is waited for.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="background")
        self._submitted: list[Future[T]] = []

    def submit(self, work: Callable[[], T]) -> None:
        """Have `work` done, after what was submitted before."""
        self._submitted.append(self._pool.submit(work))

    def results(self) -> list[T]:
        """The results of all that was submitted, in order; raises what a piece raised."""
        return [future.result() for future in self._submitted]

    def __enter__(self) -> BackgroundQueue[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def slices(things: Sequence[T], n: int) -> list[Sequence[T]]:
    """`things` in order, in at most `n` parts of about the same length, none of them empty."""
    n = min(n, len(things))
    ends = [len(things) * (i + 1) // n for i in range(n)]
    return [things[start:end] for start, end in zip([0, *ends], ends, strict=False)]
