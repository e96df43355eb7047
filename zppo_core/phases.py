"""Phases of a rollout step: timed, committed to the journal, read back after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Codec(Protocol):
    """Turns a phase's result into files and back, without loss."""

    def encode(self, value: Any, seconds: float, model_seconds: float) -> dict[str, bytes]: ...
    def decode(self, files: Mapping[str, bytes]) -> Any: ...


class PhaseJournal(Protocol):
    """What a phase needs of the journal: whole units, written once."""

    def read(self, unit: str) -> dict[str, bytes] | None: ...
    def commit(self, unit: str, files: Mapping[str, bytes]) -> None: ...


class Clock:
    """Wall time per phase, and the share of it inside model compute."""

    def __init__(self) -> None:
        self.model_seconds = 0.0

    @contextmanager
    def model(self) -> Iterator[None]:
        """Time what runs inside as model compute."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.model_seconds += time.perf_counter() - start


def step_unit(step: int, phase: str) -> str:
    """The journal's name for a phase of a rollout step."""
    return f"step-{step:06d}/{phase}"


class PhaseRecorder:
    """Runs each phase of one step once; a committed phase is read back instead.

    The result always passes through its codec, so that a resumed step continues from the very
    value that an unbroken one does. `after` is called when a phase's commit has lasted.
    """

    def __init__(
        self,
        journal: PhaseJournal,
        step: int,
        codecs: Mapping[str, Codec],
        clock: Clock,
        after: Callable[[str], None] = lambda phase: None,
    ) -> None:
        self.journal = journal
        self.step = step
        self.codecs = codecs
        self.clock = clock
        self.after = after

    def __call__(self, phase: str, compute: Callable[[], Any]) -> Any:
        unit, codec = step_unit(self.step, phase), self.codecs[phase]
        files = self.journal.read(unit)
        if files is None:
            start, model_start = time.perf_counter(), self.clock.model_seconds
            value = compute()
            seconds = time.perf_counter() - start
            files = codec.encode(value, seconds, self.clock.model_seconds - model_start)
            self.journal.commit(unit, files)
            self.after(phase)
        return codec.decode(files)
