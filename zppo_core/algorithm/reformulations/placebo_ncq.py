"""A control of NCQ: the wrong responses are those to another question, of about equal length."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.controls import exchanged
from zppo_core.algorithm.reformulation import Instance
from zppo_core.algorithm.reformulations.ncq import NegativeCandidateQuestion


class PlaceboNcq(NegativeCandidateQuestion):
    """The NCQ prompt around all wrong responses to another hard question of the step."""

    name = "placebo_ncq"

    def among(self, instances: Sequence[Instance]) -> list[Instance]:
        return exchanged(instances)


REFORMULATION = PlaceboNcq()
