"""A control of BCQ: text without a meaning stands where the candidates would (LoPE's question)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zppo_core.algorithm.controls import lorem
from zppo_core.algorithm.reformulation import Instance, PromptContext
from zppo_core.algorithm.reformulations.bcq import BinaryCandidateQuestion, reformulate_bcq
from zppo_core.algorithm.step_types import Ask


class Lorem(BinaryCandidateQuestion):
    """The BCQ prompt with random words, as many characters as each candidate has."""

    name = "lorem"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        asks = []
        for one in instances:
            pair = context.short[one.right.text], context.short[one.chosen.wrong[0]]
            shown = [replace(c, text=lorem(one.rng, len(c.text))) for c in pair]
            prompt = reformulate_bcq(
                one.question, shown[0].text, shown[1].text, one.rng, context.templates
            )
            asks.append(context.ask(one, prompt.text, negatives=shown))
        return asks


REFORMULATION = Lorem()
