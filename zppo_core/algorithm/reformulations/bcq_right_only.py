"""A control of BCQ: the right candidate of BCQ alone, and nothing says which it is."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.controls import one_candidate
from zppo_core.algorithm.reformulation import Instance, PromptContext
from zppo_core.algorithm.reformulations.bcq import BinaryCandidateQuestion
from zppo_core.algorithm.step_types import Ask
from zppo_core.prompts import Templates


class RightOnly(BinaryCandidateQuestion):
    """The right candidate of BCQ alone; a question enters where BCQ's would."""

    name = "bcq_right_only"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            right = context.short[one.right.text]
            text = one_candidate(one.question.text, right.text, context.templates)
            asks.append(context.ask(one, text, right))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, candidate = "How many cats?", "Two, so \\boxed{2}."
        return one_candidate(question, candidate, templates), (question, candidate)


REFORMULATION = RightOnly()
