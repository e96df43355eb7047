"""Dynamic sampling: questions are drawn until enough of them have something to teach (DAPO).

A method's `sampling_rounds` says how often a step may ask: with 1 there is none of this.
"""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.rollouts import plain_ask
from zppo_core.algorithm.step_types import Ask
from zppo_core.algorithm.streaming import Ahead
from zppo_core.config.schema import method_of
from zppo_core.types import Group

APART = 1_000_000  # no run has so many steps: rounds draw in orders of their own


def plain_rollouts(asks: Sequence[Ask], ahead: Ahead) -> list[Group]:
    """Graded rollouts on `asks`, and on further questions until as many groups are not trivial.

    A round asks `rollout.new_prompts` questions; which ones follows from the step and the round
    alone, and none is asked twice in a step. Groups of the rounds after the first are of the kind
    "resampled" (arXiv 2503.14476, section 3.2).
    """
    scene, groups = ahead.scene, ahead.groups(asks, "plain")
    asked = {ask.question_id for ask in asks}
    for round_ in range(1, method_of(scene.config).sampling_rounds):
        if sum(not g.trivial for g in groups) >= len(asks):
            break
        ids = scene.corpus.new_ids(APART * round_ + scene.step, scene.config.rollout.new_prompts)
        new = [q for q in ids if q not in asked]
        asked.update(new)
        further = [plain_ask(scene.corpus[q], "resampled", scene.roles, scene.config) for q in new]
        groups += ahead.groups(further, "plain")
    return groups


def kept(groups: Sequence[Group], count: int) -> list[Group]:
    """The first `count` groups that are not trivial, in the order they were asked in."""
    return [g for g in groups if not g.trivial][:count]
