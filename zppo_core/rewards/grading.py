"""The run's reward: by rule, by a judge where the gold answer is free text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zppo_core.rewards.answers import AnswerSpec
from zppo_core.rewards.judge import Judge
from zppo_core.types import Grade, Question

if TYPE_CHECKING:
    from zppo_core.rewards.grader import Grader


@dataclass(frozen=True)
class RuleGrading:
    """The reward of section 6: by rule in killable workers, free-form gold answers by `judge`."""

    grader: Grader
    judge: Judge | None = None

    @property
    def malformed(self) -> int:
        """Replies of the judge without a verdict, graded wrong."""
        return 0 if self.judge is None else self.judge.malformed

    def grade_all(self, pairs: Sequence[tuple[Question, str]]) -> list[Grade]:
        free = [(q, response) for q, response in pairs if q.judged]
        ruled = [(response, q.gold, spec_of(q)) for q, response in pairs if not q.judged]
        grades = iter(self.grader.grade_many(ruled))
        if not free:
            return list(grades)
        if self.judge is None:
            raise ValueError(f"{free[0][0].id} has a free-form gold answer, and there is no judge")
        verdicts = iter(self.judge.grade_all(free))
        return [next(verdicts) if q.judged else next(grades) for q, _ in pairs]


def spec_of(question: Question) -> AnswerSpec:
    """What the corpus says of the question's answer beside the gold itself."""
    q = question
    return AnswerSpec(q.kind, q.options, q.accepted, q.tolerance)
