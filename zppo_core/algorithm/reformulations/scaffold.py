"""Hints in three tiers, each asked only if the one before brought no right rollout (Scaf-GRPO)."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.reformulation import Instance, PromptContext, RightRollout
from zppo_core.algorithm.reformulations.hint import hint_text
from zppo_core.algorithm.step_types import Ask
from zppo_core.prompts import Templates
from zppo_core.types import Group

# (arXiv 2510.19807, knowledge, planning and solution hints)
TIERS = 3


class Scaffold(RightRollout):
    """The question with a growing part of a right solution as its hint, never the boxed answer."""

    name = "scaffold"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        return [hinted(one, 1, context) for one in instances]

    def following(
        self, one: Instance, tried: Sequence[Group], context: PromptContext
    ) -> Ask | None:
        if tried[-1].accuracy > 0.0 or len(tried) == TIERS:
            return None
        return hinted(one, len(tried) + 1, context)

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, hint = "How many cats?", "count them"
        return hint_text(question, hint, templates), (question, hint)


REFORMULATION = Scaffold()


def hinted(one: Instance, tier: int, context: PromptContext) -> Ask:
    """The question with the hint of a tier, from 1: so many thirds of the solution's words."""
    words = one.right.text.split("\\boxed")[0].split()
    hint = " ".join(words[: -(-len(words) * tier // TIERS)])
    return context.ask(one, hint_text(one.question.text, hint, context.templates))
