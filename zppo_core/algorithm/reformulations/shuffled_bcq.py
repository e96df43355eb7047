"""A control of BCQ: both candidates are wrong, and the prompt says as BCQ's that one is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zppo_core.algorithm.reformulation import Chosen, Instance, PromptContext, wrong_rollouts
from zppo_core.algorithm.reformulations.bcq import (
    BinaryCandidateQuestion,
    choose_wrong,
    reformulate_bcq,
)
from zppo_core.algorithm.step_types import Ask, TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.types import Group


class ShuffledBcq(BinaryCandidateQuestion):
    """Two wrong rollouts of the student; a question enters where BCQ's would."""

    name = "shuffled_bcq"

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        wrong, boxed = wrong_rollouts(group), settings.wrong == "boxed"
        first = choose_wrong([answer for _, answer in wrong], rng, boxed)
        # a group with a single wrong rollout shows it twice
        others = [pair for i, pair in enumerate(wrong) if i != first] or wrong
        second = choose_wrong([answer for _, answer in others], rng, boxed)
        return Chosen(None, (wrong[first][0], others[second][0]))

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            first, second = (context.short[text] for text in one.chosen.wrong)
            prompt = reformulate_bcq(
                one.question, first.text, second.text, one.rng, context.templates
            )
            asks.append(context.ask(one, prompt.text, negatives=[first, second]))
        return asks


REFORMULATION = ShuffledBcq()
