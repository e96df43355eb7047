"""A reward of one's own: a function named by dotted path, run in killable workers like ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TypedDict, cast, get_args

from zppo_core.errors import UserError
from zppo_core.processes.killable import WorkerPool, resolve
from zppo_core.types import Grade, Outcome, Question


class OwnReward:
    """Grades by `function` ("package.module:name"): (Question, response text) -> Grade.

    The question comes without its images. A call that passes `timeout` seconds is the outcome
    "timeout"; UserError if the function raises or returns something else than a Grade. Importing
    its module is not part of a call.
    """

    malformed = 0  # it has no judge

    def __init__(self, function: str, workers: int = 2, timeout: float = 10.0) -> None:
        self.function = function
        load = ("zppo_core.processes.killable:resolve", function)
        self._pool = WorkerPool("zppo_core.rewards.custom:call", workers, timeout, prepare=load)

    def grade_all(self, pairs: Sequence[tuple[Question, str]]) -> list[Grade]:
        """A grade for each (question, response), in order."""
        jobs = [[self.function, _sent(q), r] for q, r in pairs]
        grades = []
        for (question, _), outcome in zip(pairs, self._pool.map(jobs), strict=True):
            if outcome.fault == "timeout" or outcome.fault.startswith("the worker died"):
                grades.append(Grade(0.0, "timeout"))
            elif outcome.fault:
                raise UserError(
                    f"data.reward={self.function} failed on question {question.id}: {outcome.fault}"
                )
            else:
                # `call` has seen to it in the worker
                grade = cast("tuple[float, Outcome, str | None]", outcome.value)
                grades.append(Grade(*grade))
        return grades


class SentQuestion(TypedDict):
    """A question as it goes to a worker: without its pictures, tuples as JSON's lists."""

    id: str
    text: str
    gold: str
    family: str
    category: str
    judged: bool
    kind: str
    options: tuple[str, ...]
    accepted: tuple[str, ...]
    tolerance: float | None


def _sent(question: Question) -> dict[str, object]:
    fields = asdict(question)
    del fields["images"]
    return fields


@lru_cache(maxsize=8)
def _function(path: str) -> Callable[..., object]:
    return resolve(path)


def call(path: str, question: SentQuestion, response: str) -> list[object]:
    """The worker's side of `OwnReward`: the grade as a list; TypeError if it is none."""
    grade = _function(path)(Question(**question), response)
    if not isinstance(grade, Grade) or grade.reward not in (0.0, 1.0):
        raise TypeError(f"it returned {grade!r}, not a Grade with reward 0 or 1")
    if grade.outcome not in get_args(Outcome):
        raise TypeError(f"outcome {grade.outcome!r} is not one of {', '.join(get_args(Outcome))}")
    return [float(grade.reward), grade.outcome, grade.answer]
