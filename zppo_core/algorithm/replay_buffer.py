"""The prompt replay buffer (Algorithm 1, line 6): hard questions wait until they graduate.

It stores the question alone, never a response. Only plain rollouts move it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypedDict

EventKind = Literal["admit", "stay", "graduate", "evict"]


class Shuffler(Protocol):
    """What the buffer needs of a generator; `numpy.random.Generator` has it."""

    def shuffle(self, x: list[str]) -> None: ...


@dataclass(frozen=True)
class Entry:
    """A question's stay in the buffer: how and when it came in, and how often it was replayed."""

    question_id: str
    entry_accuracy: float
    entry_step: int
    visits: int = 0  # times it was asked again since admission


class EntryState(TypedDict):
    """An `Entry` as JSON."""

    question_id: str
    entry_accuracy: float
    entry_step: int
    visits: int


class BufferState(TypedDict):
    """A buffer as JSON, its entries oldest first."""

    capacity: int
    threshold: float
    refresh: bool
    entries: list[EntryState]


@dataclass(frozen=True)
class BufferEvent:
    """One change of the buffer at `step`; `accuracy` is that step's plain accuracy (NaN: evicted
    without being asked)."""

    kind: EventKind
    question_id: str
    step: int
    accuracy: float
    entry_accuracy: float
    entry_step: int
    visits: int


class PromptReplayBuffer:
    """FIFO of hard questions: admitted below `threshold`, released at or above it.

    `refresh` moves a question that stays hard to the back of the queue; the default keeps its
    place (AMBIGUOUS in the paper). Capacity 0 keeps nothing.
    """

    def __init__(self, capacity: int, threshold: float = 0.5, refresh: bool = False) -> None:
        if capacity < 0:
            raise ValueError("capacity must be >= 0")
        self.capacity = capacity
        self.threshold = threshold
        self.refresh = refresh
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, question_id: object) -> bool:
        return question_id in self._entries

    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        return tuple(self._entries.values())

    def sample(self, n: int, rng: Shuffler, exclude: Collection[str] = ()) -> list[str]:
        """At most `n` distinct question ids, uniform over those not in `exclude`."""
        barred = set(exclude)
        pool = [q for q in self._entries if q not in barred]
        rng.shuffle(pool)
        return pool[: max(n, 0)]

    def update(self, question_id: str, accuracy: float, step: int) -> list[BufferEvent]:
        """Account for one question's plain accuracy at `step`; see `update_all`."""
        return self.update_all({question_id: accuracy}, step)

    def update_all(self, accuracies: Mapping[str, float], step: int) -> list[BufferEvent]:
        """Admit x with accuracy < threshold, graduate the others, then evict oldest-first.

        Eviction comes after all admissions and graduations of the step, so the order of the
        questions decides nothing but their place in the queue. Returns the events in order.
        """
        events: list[BufferEvent] = []
        for question_id, accuracy in accuracies.items():
            held = self._entries.get(question_id)
            if held is not None:
                held = replace(held, visits=held.visits + 1)
            if accuracy >= self.threshold:
                if held is not None:
                    del self._entries[question_id]
                    events.append(_event("graduate", held, step, accuracy))
            elif held is None:
                entry = Entry(question_id, float(accuracy), step)
                self._entries[question_id] = entry
                events.append(_event("admit", entry, step, accuracy))
            else:
                self._entries[question_id] = held
                if self.refresh:
                    self._entries.move_to_end(question_id)
                events.append(_event("stay", held, step, accuracy))
        while len(self._entries) > self.capacity:
            question_id, entry = self._entries.popitem(last=False)
            events.append(_event("evict", entry, step, accuracies.get(question_id, float("nan"))))
        return events

    def state_dict(self) -> BufferState:
        """JSON-ready state; `load_state_dict` restores it exactly."""
        return {
            "capacity": self.capacity,
            "threshold": self.threshold,
            "refresh": self.refresh,
            "entries": [
                {
                    "question_id": e.question_id,
                    "entry_accuracy": e.entry_accuracy,
                    "entry_step": e.entry_step,
                    "visits": e.visits,
                }
                for e in self._entries.values()
            ],
        }

    def load_state_dict(self, state: BufferState) -> None:
        """Take the entries of `state`; ValueError if it belongs to another kind of buffer."""
        for name, saved, configured in (
            ("capacity", state["capacity"], self.capacity),
            ("threshold", state["threshold"], self.threshold),
            ("refresh", state["refresh"], self.refresh),
        ):
            if saved != configured:
                raise ValueError(
                    f"buffer state has {name}={saved}, this run {configured}; resume with the "
                    "configuration that wrote it"
                )
        self._entries = OrderedDict((e["question_id"], Entry(**e)) for e in state["entries"])


def _event(kind: EventKind, entry: Entry, step: int, accuracy: float) -> BufferEvent:
    return BufferEvent(
        kind,
        entry.question_id,
        step,
        float(accuracy),
        entry.entry_accuracy,
        entry.entry_step,
        entry.visits,
    )
