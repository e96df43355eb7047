"""A reformulation of one's own: the question with one wrong response that is called wrong.

python flows/zppo_flow.py run --method examples/one_wrong.py:METHOD
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zppo_core.algorithm.reformulation import (
    Chosen,
    Instance,
    PromptContext,
    Reformulation,
    wrong_rollouts,
)
from zppo_core.algorithm.step_types import Ask, TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.config.methods import Method
from zppo_core.prompts import Templates
from zppo_core.types import Group

TEMPLATE = str(Path(__file__).with_suffix(".jinja"))


class OneWrong(Reformulation):
    """One wrong rollout of the student, drawn uniformly; no teacher rollout takes part."""

    name = "one_wrong"
    needs_teacher = False

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        wrong = [text for text, _ in wrong_rollouts(group)]
        return Chosen(None, (wrong[int(rng.integers(len(wrong)))],))

    def candidates(self, chosen: Chosen) -> tuple[str, ...]:
        return chosen.wrong

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            wrong = context.short[one.chosen.wrong[0]]
            text = prompt_text(one.question.text, wrong.text, context.templates)
            asks.append(context.ask(one, text, negatives=[wrong]))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, wrong = "How many cats?", "Three, so \\boxed{3}."
        return prompt_text(question, wrong, templates), (question, wrong)


def prompt_text(question_text: str, wrong: str, templates: Templates) -> str:
    """The question, a wrong response, and the closer."""
    return templates.render(
        TEMPLATE,
        question=question_text,
        candidate=templates.neutralise(wrong),
        closer=templates.closer,
    )


REFORMULATION = OneWrong()
METHOD = Method(
    "zppo_one_wrong",
    replay=True,
    reformulations=("bcq", f"{__name__}:REFORMULATION"),
    loss="surrogate",
    summary="replay, BCQ and one response that is called wrong",
)
