"""The shortest start of a right teacher response that rescues a group, by binary search (BREAD)."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.reformulation import Instance, PromptContext, RightRollout
from zppo_core.algorithm.step_types import Ask
from zppo_core.prompts import Templates
from zppo_core.types import Group

EPISODES = 10  # parts that the response is cut into (arXiv 2506.17211, episode anchor search)


class Branches(RightRollout):
    """The plain question; the given start grows while all are wrong, and shrinks while none is."""

    name = "bread"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        return [branch(one, EPISODES // 2, context) for one in instances]

    def following(
        self, one: Instance, tried: Sequence[Group], context: PromptContext
    ) -> Ask | None:
        low, high = 0, EPISODES  # without a start all are wrong; the whole of it is right
        for group in tried:
            middle = (low + high) // 2
            if not group.trivial:
                return None
            low, high = (middle, high) if group.accuracy == 0.0 else (low, middle)
        middle = (low + high) // 2
        return branch(one, middle, context) if middle > low else None

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question = "How many cats?"
        return templates.with_closer(question), (question,)


REFORMULATION = Branches()


def branch(one: Instance, episodes: int, context: PromptContext) -> Ask:
    """The plain question with so many parts of the right response given."""
    tokens_T = one.right.token_ids_T
    forced = tuple(int(t) for t in tokens_T[: len(tokens_T) * episodes // EPISODES])
    return context.ask(one, context.templates.with_closer(one.question.text), forced=forced)
