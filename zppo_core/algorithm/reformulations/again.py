"""A control of every kind: the plain question once more, with equally many rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zppo_core.algorithm.reformulation import Chosen, Instance, PromptContext, Reformulation
from zppo_core.algorithm.step_types import Ask, TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.prompts import Templates
from zppo_core.types import Group


class Again(Reformulation):
    """More plain rollouts of hard questions, as many groups as reformulations would be."""

    name = "again"
    needs_teacher = False

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        return Chosen(None)

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        return [
            context.ask(one, context.templates.with_closer(one.question.text)) for one in instances
        ]

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question = "How many cats?"
        return templates.with_closer(question), (question,)


REFORMULATION = Again()
