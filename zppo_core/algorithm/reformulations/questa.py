"""The first part of a right solution in the prompt, shorter as the run goes on (QuestA)."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.reformulation import (
    Instance,
    PromptContext,
    RightRollout,
    floor_fraction,
)
from zppo_core.algorithm.step_types import Ask
from zppo_core.prompts import OURS, Templates

SHARES = (0.5, 0.25)  # in stages of equal length (arXiv 2507.13266; partial_50, partial_50_25)


class PartialSolution(RightRollout):
    """The question, and the first characters of a right teacher response without its box."""

    name = "questa"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        share = SHARES[int(context.progress * len(SHARES))]
        asks = []
        for one in instances:
            part = first_part(one.right.text, share)
            asks.append(context.ask(one, partial_text(one.question.text, part, context.templates)))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, part = "How many cats?", "There are two"
        return partial_text(question, part, templates), (question, part)


REFORMULATION = PartialSolution()


def first_part(response: str, share: float) -> str:
    """The first `share` of the response's characters, up to its boxed answer."""
    return response[: floor_fraction(share, len(response))].split("\\boxed")[0].strip()


def partial_text(question_text: str, part: str, templates: Templates = OURS) -> str:
    """The question with a part of a solution."""
    return templates.render(
        "questa",
        question=question_text,
        part=templates.neutralise(part),
        closer=templates.closer,
    )
