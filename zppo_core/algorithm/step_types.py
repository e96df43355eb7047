"""What a rollout step works with and leaves behind: its seams, its state, its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, Protocol, TypedDict, TypeVar

import numpy as np

from zppo_core.algorithm.compression import Compressed, Compressor
from zppo_core.algorithm.replay_buffer import BufferEvent, BufferState, PromptReplayBuffer
from zppo_core.algorithm.train_groups import TrainGroup, UpdateMetrics
from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Progress
from zppo_core.store.teacher_cache import Draw, TeacherCache
from zppo_core.types import EncodedPrompt, Grade, Group, Kind, Prompt, Question

T = TypeVar("T")


class Corpus(Protocol):
    """The training questions, by id and in a seeded order."""

    def new_ids(self, step: int, n: int) -> list[str]: ...
    def __getitem__(self, question_id: str) -> Question: ...


class Grading(Protocol):
    """Grades responses. `malformed`: replies of a judge without a verdict, graded wrong."""

    @property
    def malformed(self) -> int: ...
    def grade_all(self, pairs: Sequence[tuple[Question, str]]) -> list[Grade]: ...


class Learner(Protocol):
    """The trainer seam: blind to the method, it takes groups with per-token weights."""

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]: ...
    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics: ...


class Record(Protocol):
    """Runs a phase once: a committed result is read back instead of computed again.

    The phase is that of the step at work, or of the one that many steps `ahead`.
    """

    def __call__(self, phase: str, compute: Callable[[], T], ahead: int = 0) -> T: ...


@dataclass(frozen=True)
class Roles:
    """Who takes part in a step. The student's engine and the learner agree on `version`."""

    student: Engine
    teachers: tuple[Engine, ...]
    learner: Learner
    grading: Grading
    compressor: Compressor
    draws: TeacherCache
    encode: Callable[[Prompt], EncodedPrompt]
    templates: Templates
    progress: Callable[[str], Progress] = lambda phase: lambda done, total: None
    overlaps: bool = False  # whether the student can sample while the learner updates


class StepState(TypedDict):
    """A `RolloutState` as JSON."""

    buffer: BufferState
    step: int
    visits: dict[str, int]
    skipped: NotRequired[int]  # checkpoints of before have none


@dataclass
class RolloutState:
    """What lasts from step to step besides weights and optimizer; small and JSON-ready."""

    buffer: PromptReplayBuffer
    step: int = 0  # rollout steps done; also the weight version
    visits: dict[str, int] = field(default_factory=dict)  # times each question was asked plainly
    skipped: int = 0  # mini-batches without a finite gradient, in a row until now

    def state_dict(self) -> StepState:
        return {
            "buffer": self.buffer.state_dict(),
            "step": self.step,
            "visits": self.visits,
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: StepState) -> None:
        self.buffer.load_state_dict(state["buffer"])
        self.step = int(state["step"])
        self.visits = {str(k): int(v) for k, v in state["visits"].items()}
        self.skipped = int(state.get("skipped", 0))


@dataclass(frozen=True)
class Ask:
    """A student prompt to roll out; reformulated ones say which candidates stand in it."""

    question_id: str
    kind: Kind
    prompt: Prompt
    right_first: bool | None = None
    positive: Compressed | None = None
    negatives: tuple[Compressed, ...] = ()
    trial: int = 0  # how many prompts of the kind the question was asked before in the step

    def uid(self, step: int) -> str:
        again = f"/{self.trial}" if self.trial else ""
        return f"{step:06d}/{self.question_id}/{self.kind}{again}"


@dataclass(frozen=True, eq=False)
class TeacherDraw:
    """One graded teacher rollout on a visit of a question."""

    question_id: str
    visit: int
    index: int
    draw: Draw
    grade: Grade


@dataclass(frozen=True, eq=False)
class TeacherPhase:
    """Teacher rollouts by question, and the instances that enter under the cap."""

    draws: dict[str, tuple[TeacherDraw, ...]]
    plan: tuple[tuple[str, Kind], ...]


@dataclass(frozen=True, eq=False)
class UpdatePhase:
    metrics: tuple[UpdateMetrics, ...]
    advantages: dict[str, np.ndarray]  # uid -> (G,)
    mismatch_mean: float  # |log-prob of sampler - of trainer|, nats
    mismatch_max: float
    skipped_groups: int  # equal rewards: nothing to learn


@dataclass(frozen=True, eq=False)
class StepResult:
    step: int
    plain: tuple[Group, ...]
    teacher: TeacherPhase
    asks: tuple[Ask, ...]  # the reformulated prompts
    augmented: tuple[Group, ...]
    update: UpdatePhase
    events: tuple[BufferEvent, ...]
    buffer_size: int
    spare: int = 0  # tokens that teachers drew on a guess, for questions without use for them
