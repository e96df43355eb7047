"""A control of BCQ: the two candidates are those of another question, of about equal length."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.controls import exchanged
from zppo_core.algorithm.reformulation import Instance
from zppo_core.algorithm.reformulations.bcq import BinaryCandidateQuestion


class PlaceboBcq(BinaryCandidateQuestion):
    """The BCQ prompt around a right and a wrong response to another hard question of the step."""

    name = "placebo_bcq"

    def among(self, instances: Sequence[Instance]) -> list[Instance]:
        return exchanged(instances)


REFORMULATION = PlaceboBcq()
