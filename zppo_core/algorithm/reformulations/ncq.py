"""The negative candidate question: every wrong response of the student (section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zppo_core.algorithm.reformulation import (
    Chosen,
    Instance,
    PromptContext,
    Reformulated,
    Reformulation,
    text_of,
    wrong_rollouts,
)
from zppo_core.algorithm.step_types import Ask, TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.prompts import OURS, Templates
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Group, Question


class NegativeCandidateQuestion(Reformulation):
    """All wrong rollouts of the student; no teacher rollout takes part (section 2)."""

    name = "ncq"
    needs_teacher = False

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        return Chosen(None, tuple(text for text, _ in wrong_rollouts(group)))

    def candidates(self, chosen: Chosen) -> tuple[str, ...]:
        return chosen.wrong

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            negatives = [context.short[text] for text in one.chosen.wrong]
            shown = [n.text for n in negatives]
            prompt = reformulate_ncq(one.question, shown, context.templates)
            asks.append(context.ask(one, prompt.text, negatives=negatives))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, wrong = "How many cats?", "Three, so \\boxed{3}."
        return ncq_text(question, ["3", "4"], [wrong], templates), (question, wrong)


REFORMULATION = NegativeCandidateQuestion()


def reformulate_ncq(
    question: Question | str, wrong: Sequence[str], templates: Templates = OURS
) -> Reformulated:
    """The NCQ prompt: the distinct boxed answers of the wrong responses, then every one of them.

    ValueError without a wrong response (section 5).
    """
    if not wrong:
        raise ValueError("an NCQ is made of wrong responses, and there is none")
    answers = [a for a in map(extract_boxed, wrong) if a is not None]
    return Reformulated(ncq_text(text_of(question), answers, wrong, templates))


def ncq_text(
    question_text: str,
    answers: Sequence[str],
    traces: Sequence[str],
    templates: Templates = OURS,
) -> str:
    """The prompt with the distinct wrong answers, then every wrong trace."""
    distinct = list(dict.fromkeys(templates.neutralise(a) for a in answers))
    return templates.render(
        "ncq",
        question=question_text,
        answers=distinct,
        candidates=[templates.neutralise(t) for t in traces],
        closer=templates.closer,
    )
