"""The binary candidate question: one right and one wrong response, unlabelled (section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zppo_core.algorithm.reformulation import (
    Chosen,
    Instance,
    PromptContext,
    Reformulated,
    Reformulation,
    Rng,
    one_right,
    text_of,
    wrong_rollouts,
)
from zppo_core.algorithm.step_types import Ask, TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.prompts import OURS, Templates
from zppo_core.types import Group, Question


class BinaryCandidateQuestion(Reformulation):
    """A right teacher rollout and a wrong one of the student, each drawn uniformly (section 2)."""

    name = "bcq"

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        positive, wrong = one_right(draws, rng), wrong_rollouts(group)
        boxed = settings.wrong == "boxed"
        index = choose_wrong([answer for _, answer in wrong], rng, boxed)
        return Chosen(positive, (wrong[index][0],))

    def candidates(self, chosen: Chosen) -> tuple[str, ...]:
        return (*(() if chosen.right is None else (chosen.right.text,)), *chosen.wrong)

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            right, wrong = context.short[one.right.text], context.short[one.chosen.wrong[0]]
            prompt = reformulate_bcq(
                one.question, right.text, wrong.text, one.rng, context.templates
            )
            asks.append(context.ask(one, prompt.text, right, [wrong], prompt.right_first))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, right, wrong = "How many cats?", "Two, so \\boxed{2}.", "Three, so \\boxed{3}."
        return bcq_text(question, right, wrong, True, templates), (question, right, wrong)


REFORMULATION = BinaryCandidateQuestion()


def reformulate_bcq(
    question: Question | str, right: str, wrong: str, rng: Rng, templates: Templates = OURS
) -> Reformulated:
    """The BCQ prompt: a right and a wrong response, unlabelled, in an order drawn from `rng`.

    Responses stand as they are given, compressed or not, but for control text (section 5).
    """
    first = bool(rng.random() < 0.5)
    return Reformulated(bcq_text(text_of(question), right, wrong, first, templates), first)


def bcq_text(
    question_text: str, right: str, wrong: str, right_first: bool, templates: Templates = OURS
) -> str:
    """The prompt with two unlabelled candidates in the given order."""
    pair = [templates.neutralise(right), templates.neutralise(wrong)]
    candidates = pair if right_first else pair[::-1]
    return templates.render(
        "bcq", question=question_text, candidates=candidates, closer=templates.closer
    )


def choose_wrong(answers: Sequence[str | None], rng: Rng, boxed: bool = True) -> int:
    """The index of one wrong rollout, uniform over those with a parsed answer if there are any.

    A candidate without a box beside one with a box would tell which is wrong
    (docs/decisions/0003-boxed-candidates.md). Without `boxed`, over all (section 2, step 4).
    """
    pool = [i for i, a in enumerate(answers) if boxed and a is not None]
    pool = pool or list(range(len(answers)))
    return pool[int(rng.random() * len(pool))]
