"""Teacher draws that begin while the student still samples: neither role waits for the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from zppo_core.teacher_cache import Draw

Draws = dict[str, list[Draw]]  # question -> draws of every teacher


class Ahead:
    """Draws in the background, batch after batch, in the order of submission.

    Draws are keyed by question, visit and index, so that when they are made changes none of them.
    On the way out what has not begun is dropped; what runs is waited for.
    """

    def __init__(self, draw: Callable[[Sequence[str]], Draws]) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="teacher ahead")
        self._begun: list[Future[Draws]] = []

    def begin(self, question_ids: Sequence[str]) -> None:
        """Have draws made for these questions, after those begun before."""
        if question_ids:
            self._begun.append(self._pool.submit(self._draw, list(question_ids)))

    def collect(self) -> Draws:
        """All that was begun, by question; raises what the teacher raised."""
        return {q: draws for future in self._begun for q, draws in future.result().items()}

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._pool.shutdown(wait=True, cancel_futures=True)
