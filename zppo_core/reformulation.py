"""Which questions are reformulated under the cap, and how (Algorithm 1, lines 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from zppo_core.methods import Reformulation
from zppo_core.prompts import OURS


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


def plan_augmentations(
    accuracies: Sequence[float],
    has_correct_teacher: Sequence[bool],
    cap: int,
    rng: Rng,
    kinds: Sequence[Reformulation] = ("bcq", "ncq"),
) -> list[tuple[int, Reformulation]]:
    """The instances that enter, as (question index, kind), in the order of the walk.

    `accuracies` are those of the hard questions. Pre-cap: the `cap` hardest questions. Post-cap:
    by ascending accuracy, each question's kinds in turn; the first instance beyond `cap` is
    dropped and ends the walk, so with one slot left BCQ stays and NCQ goes (section 2).
    """
    return plan_lazily(
        accuracies, cap, rng, kinds, lambda indices: [has_correct_teacher[i] for i in indices]
    )


def plan_lazily(
    accuracies: Sequence[float],
    cap: int,
    rng: Rng,
    kinds: Sequence[Reformulation],
    has_correct_teacher: Callable[[list[int]], Sequence[bool]],
) -> list[tuple[int, Reformulation]]:
    """`plan_augmentations`, asking for teacher rollouts only where they can still matter.

    Each round asks for the questions that are certain to be reached with the slots left, so no
    question is asked about that the walk would not come to. Same plan for the same `rng` state.
    """
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


def build_bcq(question_text: str, correct: str, wrong: str, rng: Rng) -> str:
    """The BCQ prompt: right and wrong candidate in an order drawn from `rng`, unlabelled."""
    return OURS.bcq(question_text, correct, wrong, right_first=rng.random() < 0.5)


def build_ncq(question_text: str, wrong_answers: Sequence[str], wrong_traces: Sequence[str]) -> str:
    """The NCQ prompt: the distinct wrong answers, then one candidate block per wrong trace."""
    return OURS.ncq(question_text, wrong_answers, wrong_traces)


def choose_wrong(answers: Sequence[str | None], rng: Rng, boxed: bool = True) -> int:
    """The index of one wrong rollout, uniform over those with a parsed answer if there are any.

    A candidate without a box beside one with a box would tell which is wrong
    (docs/decisions/0003-boxed-candidates.md). Without `boxed`, over all (section 2, step 4).
    """
    pool = [i for i, a in enumerate(answers) if boxed and a is not None]
    pool = pool or list(range(len(answers)))
    return pool[int(rng.random() * len(pool))]
