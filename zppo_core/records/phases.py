"""Phases of a rollout step: timed, committed to the journal, read back after a crash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")
Role = Literal["student", "teacher", "learner"]


@dataclass(frozen=True)
class Spent:
    """Wall time [s]: all of it, inside of any model, and each role's own; else the role idles."""

    seconds: float
    model_seconds: float
    student_seconds: float
    teacher_seconds: float
    learner_seconds: float

    def __sub__(self, earlier: Spent) -> Spent:
        totals, totals_before = asdict(self), asdict(earlier)
        return Spent(**{name: totals[name] - totals_before[name] for name in totals})


class Codec(Protocol[T]):
    """Turns a phase's result into files and back, without loss."""

    def encode(self, value: T, spent: Spent) -> dict[str, bytes]: ...
    def decode(self, files: Mapping[str, bytes]) -> T: ...


class PhaseJournal(Protocol):
    """What a phase needs of the journal: whole units, written once."""

    def read(self, unit: str) -> dict[str, bytes] | None: ...
    def commit(self, unit: str, files: Mapping[str, bytes]) -> None: ...


class Clock:
    """Wall time inside model compute, in all and by role; roles may work at the same time."""

    def __init__(self) -> None:
        self.model_seconds = 0.0  # what two roles do at once counts once
        self._busy: dict[Role, float] = {"student": 0.0, "teacher": 0.0, "learner": 0.0}
        self._lock = threading.Lock()
        self._running, self._since = 0, 0.0

    @contextmanager
    def model(self, role: Role) -> Iterator[None]:
        """Time what runs inside as model compute of `role`."""
        with self._lock:
            start = time.perf_counter()
            self._since = start if self._running == 0 else self._since
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                now = time.perf_counter()
                self._busy[role] += now - start
                self._running -= 1
                if self._running == 0:
                    self.model_seconds += now - self._since

    def now(self) -> Spent:
        """What was spent until now; of use as a difference, where no model runs."""
        busy = self._busy
        return Spent(
            time.perf_counter(),
            self.model_seconds,
            busy["student"],
            busy["teacher"],
            busy["learner"],
        )


RUN_UNIT = "run"  # the journal's name for the run's own row


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
        codecs: Mapping[str, Codec[Any]],  # by phase: each of the type that its phase computes
        clock: Clock,
        after: Callable[[str], None] = lambda phase: None,
    ) -> None:
        self.journal = journal
        self.step = step
        self.codecs = codecs
        self.clock = clock
        self.after = after

    def __call__(self, phase: str, compute: Callable[[], T]) -> T:
        unit = step_unit(self.step, phase)
        codec: Codec[T] = self.codecs[phase]
        files = self.journal.read(unit)
        if files is None:
            before = self.clock.now()
            value = compute()
            files = codec.encode(value, self.clock.now() - before)
            self.journal.commit(unit, files)
            self.after(phase)
        return codec.decode(files)
