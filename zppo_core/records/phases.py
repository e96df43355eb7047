"""Phases of a rollout step: timed, committed to the journal, read back after a crash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeVar, get_args

from zppo_core.records.schema import decode

T = TypeVar("T")
Role = Literal["student", "teacher", "learner"]


@dataclass(frozen=True)
class Spent:
    """Wall time [s]: all of it, inside of any model, and each role's own; else the role idles."""

    seconds: float = 0.0
    model_seconds: float = 0.0
    student_seconds: float = 0.0
    teacher_seconds: float = 0.0
    learner_seconds: float = 0.0

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


class _Stopwatch:
    """Seconds [s] in which at least one of its calls was at work."""

    def __init__(self) -> None:
        self._total, self._since, self._calls = 0.0, 0.0, 0

    def enter(self, now: float) -> None:
        self._since = now if self._calls == 0 else self._since
        self._calls += 1

    def leave(self, now: float) -> None:
        self._calls -= 1
        if self._calls == 0:
            self._total += now - self._since

    def until(self, now: float) -> float:
        return self._total + (now - self._since if self._calls else 0.0)


class Clock:
    """Wall time inside model compute, in all and by role.

    Roles may work at the same time, and several calls of one role: what they do at once counts
    once.
    """

    def __init__(self) -> None:
        self._any = _Stopwatch()
        self._of: dict[Role, _Stopwatch] = {r: _Stopwatch() for r in get_args(Role)}
        self._lock = threading.Lock()

    @property
    def model_seconds(self) -> float:
        """Time in which any model was at work."""
        return self.now().model_seconds

    @contextmanager
    def model(self, role: Role) -> Iterator[None]:
        """Time what runs inside as model compute of `role`."""
        watches = self._any, self._of[role]
        with self._lock:
            now = time.perf_counter()
            for watch in watches:
                watch.enter(now)
        try:
            yield
        finally:
            with self._lock:
                now = time.perf_counter()
                for watch in watches:
                    watch.leave(now)

    def now(self) -> Spent:
        """What was spent until now; of use as a difference."""
        with self._lock:
            now = time.perf_counter()
            roles = (watch.until(now) for watch in self._of.values())
            return Spent(now, self._any.until(now), *roles)


RUN_UNIT = "run"  # the journal's name for the run's own row


def step_unit(step: int, phase: str) -> str:
    """The journal's name for a phase of a rollout step."""
    return f"step-{step:06d}/{phase}"


class PhaseRecorder:
    """Runs each phase of one step once; a committed phase is read back instead.

    The result always passes through its codec, so that a resumed step continues from the very
    value that an unbroken one does. `after` is called when a phase's commit has lasted. Without a
    clock a phase takes no time: what goes on beside another one is counted there.
    """

    def __init__(
        self,
        journal: PhaseJournal,
        step: int,
        codecs: Mapping[str, Codec[Any]],  # by phase: each of the type that its phase computes
        clock: Clock | None,
        after: Callable[[str], None] = lambda phase: None,
    ) -> None:
        self.journal = journal
        self.step = step
        self.codecs = codecs
        self.clock = clock
        self.after = after
        self.replayed: dict[str, float] = {}  # phases that were read back: what they took [s]

    def __call__(self, phase: str, compute: Callable[[], T]) -> T:
        unit = step_unit(self.step, phase)
        codec: Codec[T] = self.codecs[phase]
        files = self.journal.read(unit)
        if files is None:
            before = self._now()
            value = compute()
            files = codec.encode(value, self._now() - before)
            self.journal.commit(unit, files)
            self.after(phase)
        elif "phases.parquet" in files:
            rows = decode("phases", files["phases.parquet"]).to_pylist()
            self.replayed[phase] = sum(row["seconds"] for row in rows if row["phase"] == phase)
        return codec.decode(files)

    def _now(self) -> Spent:
        return Spent() if self.clock is None else self.clock.now()
