"""Which questions are reformulated under the cap, and how (Algorithm 1, lines 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zppo_core.config.methods import Reformulation
from zppo_core.prompts import OURS, Templates
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Question


class Rng(Protocol):
    """What these functions need of a generator; `numpy.random.Generator` has it."""

    def random(self) -> float: ...
    def shuffle(self, x: Any) -> None: ...


NEEDS_TEACHER: tuple[Reformulation, ...] = ("bcq", "hint", "prefix")


def share(ratio: float, n: int) -> int:
    """floor(ratio * n), safe against the rounding of the ratio."""
    return int(ratio * n + 1e-9)


def hardest_first(accuracies: Sequence[float], rng: Rng) -> list[int]:
    """Indices by ascending accuracy; ties in a seeded random order."""
    order = list(range(len(accuracies)))
    rng.shuffle(order)
    return sorted(order, key=lambda i: accuracies[i])


# what the walk knows of teacher rollouts: one truth a hard question, or whom to ask
Correct = Sequence[bool] | Callable[[list[int]], Sequence[bool]]


def plan_augmentations(
    accuracies: Sequence[float],
    has_correct_teacher: Correct,
    cap: int,
    rng: Rng,
    kinds: Sequence[Reformulation] = ("bcq", "ncq"),
) -> list[tuple[int, Reformulation]]:
    """The instances that enter, as (question index, kind), in the order of the walk (section 2).

    `accuracies` are those of the hard questions. Pre-cap: the `cap` hardest questions, ties in an
    order drawn from `rng`. Post-cap: by ascending accuracy, each question's kinds in turn; the
    first instance beyond `cap` is dropped and ends the walk, so with one slot left BCQ stays and
    NCQ goes.

    `has_correct_teacher` is one truth a question, or a function that finds out for some indices.
    Each round asks it only about questions that the walk is certain to reach with the slots left,
    and never twice: teacher rollouts may be drawn as they are asked for, with the same plan.
    """
    if not callable(has_correct_teacher):
        truths = has_correct_teacher
        return plan_augmentations(
            accuracies, lambda indices: [truths[i] for i in indices], cap, rng, kinds
        )
    kept = hardest_first(accuracies, rng)[: max(cap, 0)]
    teacher_kinds = [k for k in kinds if k in NEEDS_TEACHER]
    plan: list[tuple[int, Reformulation]] = []
    position = 0
    while position < len(kept) and len(plan) < cap:
        # a question takes at most len(kinds) slots, so these many are reached for certain
        reached = kept[position : position + max(1, (cap - len(plan)) // max(len(kinds), 1))]
        known = has_correct_teacher(reached) if teacher_kinds else [False] * len(reached)
        for index, correct in zip(reached, known, strict=True):
            if accuracies[index] >= 1.0:  # no wrong rollout: nothing to reformulate
                continue
            for kind in kinds:
                if kind in NEEDS_TEACHER and not correct:
                    continue
                if len(plan) == cap:
                    return plan
                plan.append((index, kind))
        position += len(reached)
    return plan


@dataclass(frozen=True)
class Reformulated:
    """A prompt made of a question and candidates; `right_first` is the order of a BCQ's two."""

    text: str
    right_first: bool | None = None


def reformulate_bcq(
    question: Question | str, right: str, wrong: str, rng: Rng, templates: Templates = OURS
) -> Reformulated:
    """The BCQ prompt: a right and a wrong response, unlabelled, in an order drawn from `rng`.

    Responses stand as they are given, compressed or not, but for control text (section 5).
    """
    first = bool(rng.random() < 0.5)
    return Reformulated(templates.bcq(_text(question), right, wrong, first), first)


def reformulate_ncq(
    question: Question | str, wrong: Sequence[str], templates: Templates = OURS
) -> Reformulated:
    """The NCQ prompt: the distinct boxed answers of the wrong responses, then every one of them.

    ValueError without a wrong response (section 5).
    """
    if not wrong:
        raise ValueError("an NCQ is made of wrong responses, and there is none")
    answers = [a for a in map(extract_boxed, wrong) if a is not None]
    return Reformulated(templates.ncq(_text(question), answers, wrong))


def _text(question: Question | str) -> str:
    return question if isinstance(question, str) else question.text


def choose_wrong(answers: Sequence[str | None], rng: Rng, boxed: bool = True) -> int:
    """The index of one wrong rollout, uniform over those with a parsed answer if there are any.

    A candidate without a box beside one with a box would tell which is wrong
    (docs/decisions/0003-boxed-candidates.md). Without `boxed`, over all (section 2, step 4).
    """
    pool = [i for i, a in enumerate(answers) if boxed and a is not None]
    pool = pool or list(range(len(answers)))
    return pool[int(rng.random() * len(pool))]
