"""A kind of reformulation: which responses stand in a prompt, and the prompt (sections 2 and 5).

Each kind is an object in a file of its own, the paper's in `algorithm/reformulations/`. The rollout
step and the prompt writer here know none of them by name.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.step_types import Ask, Roles, TeacherDraw
from zppo_core.config import Config, ReformulationConfig
from zppo_core.prompts import Templates
from zppo_core.rewards.where import whole_turn
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Group, Prompt, Question


class Rng(Protocol):
    """What these functions need of a generator; `numpy.random.Generator` has it."""

    def random(self) -> float: ...
    def shuffle(self, x: list[int]) -> None: ...


def floor_fraction(ratio: float, n: int) -> int:
    """floor(ratio * n), safe against the rounding of the ratio."""
    return int(ratio * n + 1e-9)


@dataclass(frozen=True, eq=False)
class Chosen:
    """What an instance is made of: a right teacher rollout, wrong rollouts of the student."""

    right: Draw | None
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Instance:
    """A question that is asked again, and by what; `rng` goes on where the choice ended."""

    question: Question
    kind: Reformulation
    chosen: Chosen
    rng: np.random.Generator

    @property
    def right(self) -> Draw:
        """The right teacher rollout; ValueError if it was planned without one."""
        if self.chosen.right is None:
            raise ValueError(
                f"{self.question.id}: {self.kind.name} was planned without a right rollout"
            )
        return self.chosen.right


class Reformulation(ABC):
    """A kind of question that is asked again with something beside it.

    `name` is that of its groups in journal and database. With `needs_teacher` a question enters
    only if a teacher rollout of it is right.
    """

    name: str
    needs_teacher: bool = True

    @abstractmethod
    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        """What an instance is made of: the hard question's `group`, all teacher `draws` for it."""

    def among(self, instances: Sequence[Instance]) -> list[Instance]:
        """All instances of this kind in a step; a control exchanges here what they are made of."""
        return list(instances)

    @property
    def alone(self) -> bool:
        """Whether an instance is what it is before the step's others of this kind are known."""
        return type(self).among is Reformulation.among

    def candidates(self, chosen: Chosen) -> tuple[str, ...]:
        """The responses to compress before `write`: those that stand in the prompt."""
        return ()

    @abstractmethod
    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        """The prompts of some instances of this kind, in order."""

    def following(
        self, one: Instance, tried: Sequence[Group], context: PromptContext
    ) -> Ask | None:
        """Another prompt of an instance after the groups `tried`, in order; None: it is enough."""
        return None

    @property
    def searches(self) -> bool:
        """Whether a second prompt may follow from how the first one went."""
        return type(self).following is not Reformulation.following

    @abstractmethod
    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        """A prompt of a sample, and the texts that must stand in it: tried before a run begins."""


class RightRollout(Reformulation):
    """A kind that is made of one right teacher rollout, drawn uniformly, and nothing else."""

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        return Chosen(one_right(draws, rng))


@dataclass(frozen=True)
class PromptContext:
    """What a kind writes its prompts with; `short` has each candidate compressed."""

    roles: Roles
    config: Config
    seed: int
    step: int = 0
    short: dict[str, Compressed] = field(default_factory=dict)

    @property
    def templates(self) -> Templates:
        return self.roles.templates

    @property
    def progress(self) -> float:
        """The share of the run's rollout steps that is done, in [0, 1)."""
        return min(self.step / max(self.config.run.rollout_steps, 1), 1.0 - 1e-9)

    def ask(
        self,
        one: Instance,
        text: str,
        positive: Compressed | None = None,
        negatives: Sequence[Compressed] = (),
        right_first: bool | None = None,
        forced: tuple[int, ...] = (),
    ) -> Ask:
        """The student's prompt `text` with the question's pictures, and what stands in it.

        `right_first` is the order of a right and a wrong candidate; `forced` are response tokens
        that are given.
        """
        thinking = self.config.student.thinking
        prompt = Prompt(text, one.question.images, thinking, forced=forced)
        name = one.kind.name
        return Ask(one.question.id, name, prompt, right_first, positive, tuple(negatives))


@dataclass(frozen=True)
class PromptWriter:
    """Turns instances into prompts; a text that stands in two of a step is compressed once.

    Several threads may write at the same time.
    """

    context: PromptContext
    _begun: dict[str, Future[Compressed]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def write(self, instances: Sequence[Instance]) -> list[Ask]:
        """The prompts of `instances`, in order: compressed, anonymised (section 5)."""
        context = self.context
        self._compress([t for one in instances for t in one.kind.candidates(one.chosen)])
        written: dict[int, Ask] = {}
        for kind in dict.fromkeys(one.kind for one in instances):
            places = [i for i, one in enumerate(instances) if one.kind is kind]
            asks = kind.write([instances[i] for i in places], context)
            written.update(zip(places, asks, strict=True))
        return [written[i] for i in range(len(instances))]

    def _compress(self, responses: Sequence[str]) -> None:
        """Have each in `context.short`, by this thread or by the one that came first."""
        context, texts = self.context, list(dict.fromkeys(responses))
        with self._lock:
            new = [t for t in texts if t not in self._begun]
            self._begun.update({t: Future() for t in new})
        try:
            summaries = context.roles.compressor.compress(new, context.seed)
        except BaseException as error:
            for text in new:
                self._begun[text].set_exception(error)
            raise
        for text, summary in zip(new, summaries, strict=True):
            self._begun[text].set_result(summary)
        context.short.update({t: self._begun[t].result() for t in texts})


def settled(instances: Sequence[Instance]) -> list[Instance]:
    """A step's instances in order, after each kind has seen all of its own."""
    placed: dict[int, Instance] = {}
    for kind in dict.fromkeys(one.kind for one in instances):
        places = [i for i, one in enumerate(instances) if one.kind is kind]
        placed.update(zip(places, kind.among([instances[i] for i in places]), strict=True))
    return [placed[i] for i in range(len(instances))]


def wrong_rollouts(group: Group) -> list[tuple[str, str | None]]:
    """The student's wrong responses as whole turns, each with its parsed answer if it has one."""
    pairs = zip(group.completions, group.grades, strict=True)
    thinking = group.prompt.thinking
    return [
        (whole_turn(c.text, thinking, c.finish == "length"), g.answer)
        for c, g in pairs
        if g.reward == 0.0
    ]


def one_right(draws: Sequence[TeacherDraw], rng: np.random.Generator) -> Draw:
    """One right teacher rollout, uniformly."""
    right = [d.draw for d in draws if d.grade.reward == 1.0]
    return right[int(rng.random() * len(right))]


def text_of(question: Question | str) -> str:
    """The text of a question, or what is one already."""
    return question if isinstance(question, str) else question.text


@dataclass(frozen=True)
class Reformulated:
    """A prompt made of a question and candidates; `right_first` is the order of a BCQ's two."""

    text: str
    right_first: bool | None = None
