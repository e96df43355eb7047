"""The start of a right teacher response, forced on the student (section 7, grpo_replay_prefix)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zppo_core.algorithm.reformulation import (
    Chosen,
    Desk,
    Instance,
    Reformulation,
    one_right,
    share,
)
from zppo_core.algorithm.step_types import Ask, TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.prompts import Templates
from zppo_core.types import Group


class TeacherPrefix(Reformulation):
    """The plain question; the first tokens of the response are given and carry no gradient."""

    name = "prefix"

    def choose(
        self,
        group: Group,
        draws: Sequence[TeacherDraw],
        rng: np.random.Generator,
        settings: ReformulationConfig,
    ) -> Chosen:
        return Chosen(one_right(draws, rng))

    def write(self, instances: Sequence[Instance], desk: Desk) -> list[Ask]:
        asks = []
        for one in instances:
            tokens_T = one.right.token_ids_T
            length = share(desk.config.reformulation.prefix_share, len(tokens_T))
            forced = tuple(int(t) for t in tokens_T[:length])
            text = desk.templates.with_closer(one.question.text)
            asks.append(desk.ask(one, text, forced=forced))
        return asks

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question = "How many cats?"
        return templates.with_closer(question), (question,)


REFORMULATION = TeacherPrefix()
