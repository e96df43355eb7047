"""The start of a right teacher response, forced on the student (section 7, grpo_replay_prefix)."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.reformulation import (
    Instance,
    PromptContext,
    RightRollout,
    floor_fraction,
)
from zppo_core.algorithm.step_types import Ask
from zppo_core.prompts import Templates


class TeacherPrefix(RightRollout):
    """The plain question; the first tokens of the response are given and carry no gradient."""

    name = "prefix"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            tokens_T = one.right.token_ids_T
            length = floor_fraction(context.config.reformulation.prefix_share, len(tokens_T))
            forced = tuple(int(t) for t in tokens_T[:length])
            text = context.templates.with_closer(one.question.text)
            asks.append(context.ask(one, text, forced=forced))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question = "How many cats?"
        return templates.with_closer(question), (question,)


REFORMULATION = TeacherPrefix()
