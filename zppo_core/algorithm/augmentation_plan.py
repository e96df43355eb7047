"""Which questions are reformulated under the cap (Algorithm 1, lines 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zppo_core.algorithm.reformulation import Rng
from zppo_core.algorithm.reformulations import find


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
    kinds: Sequence[str] = ("bcq", "ncq"),
) -> list[tuple[int, str]]:
    """The instances that enter, as (question index, kind), in the order of the walk (section 2).

    `accuracies` are those of the hard questions. Pre-cap: the `cap` hardest questions, ties in an
    order drawn from `rng`. Post-cap: by ascending accuracy, each question's kinds in turn; the
    first instance beyond `cap` is dropped and ends the walk, so with one slot left BCQ stays and
    NCQ goes.

    `has_correct_teacher` is one truth a question, or a function that finds out for some indices.
    Each round asks it only about questions that the walk is certain to reach with the slots left,
    and never twice: teacher rollouts may be drawn as they are asked for, with the same plan.
    `kinds` are named as a method names them; UserError if there is none of a name.
    """
    if not callable(has_correct_teacher):
        truths = has_correct_teacher
        return plan_augmentations(
            accuracies, lambda indices: [truths[i] for i in indices], cap, rng, kinds
        )
    kept = hardest_first(accuracies, rng)[: max(cap, 0)]
    walked = [find(name) for name in kinds]
    any_needs_teacher = any(kind.needs_teacher for kind in walked)
    plan: list[tuple[int, str]] = []
    position = 0
    while position < len(kept) and len(plan) < cap:
        # a question takes at most one slot a kind, so these many are reached for certain
        reached = kept[position : position + max(1, (cap - len(plan)) // max(len(walked), 1))]
        has_correct = has_correct_teacher(reached) if any_needs_teacher else [False] * len(reached)
        for index, correct in zip(reached, has_correct, strict=True):
            if accuracies[index] >= 1.0:  # no wrong rollout: nothing to reformulate
                continue
            for kind in walked:
                if kind.needs_teacher and not correct:
                    continue
                if len(plan) == cap:
                    return plan
                plan.append((index, kind.name))
        position += len(reached)
    return plan


def certain_instances(
    accuracies: Sequence[float],
    kept: Sequence[int],
    correct: Mapping[int, bool],
    cap: int,
    kinds: Sequence[str],
) -> list[tuple[int, str]]:
    """The instances that enter whatever the teacher rollouts bring that are not there yet.

    `kept` are the questions in the order of the walk, after the pre-cap; `correct` says of some of
    them whether a teacher rollout is right. With all of them known it is the whole plan.
    """
    walked = [find(name) for name in kinds]
    certain: list[tuple[int, str]] = []
    taken = 0  # slots before an instance, at most
    for index in kept:
        if accuracies[index] >= 1.0:
            continue
        for kind in walked:
            if kind.needs_teacher and correct.get(index) is False:
                continue
            if taken >= cap:
                return certain
            if index in correct:
                certain.append((index, kind.name))
            taken += 1
    return certain
