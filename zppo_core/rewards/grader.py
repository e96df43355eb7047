r"""The outcome reward: the last \boxed{...} against the gold answer (section 6).

Cheap, exact comparisons decide almost every pair here; only what needs algebra goes to processes
that are killed when they take too long (`zppo_core/processes/killable.py`). Nothing that a model
wrote is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from functools import lru_cache

from zppo_core.processes.killable import Outcome, WorkerPool
from zppo_core.rewards.answers import AnswerSpec, NeedsAlgebraError, spec_of
from zppo_core.rewards.compare import agree
from zppo_core.rewards.where import find_answer
from zppo_core.types import Grade

TIMEOUT = 5.0  # seconds for one comparison by computer algebra
ALGEBRA = "zppo_core.rewards.grader:agree_by_algebra"
WARM_UP = "zppo_core.rewards.grader:warm_up"
PLAIN = AnswerSpec()

Pair = tuple[str, str] | tuple[str, str, AnswerSpec]


def agree_by_algebra(
    answer: str,
    gold: str,
    kind: str,
    options: Sequence[str],
    accepted: Sequence[str],
    tolerance: float | None,
) -> bool | None:
    """The worker's side: `agree` with algebra; None where a value is too large to compute."""
    from zppo_core.rewards import algebra  # mpmath, which only a worker needs

    try:
        return agree(answer, gold, spec_of(kind, options, accepted, tolerance), algebra)
    except algebra.TooLargeError:
        return None


def warm_up() -> None:
    """Import the algebra and the units, so that no answer pays for that with its time."""
    agree_by_algebra(r"\sin x m", r"\cos x", "", [], [], None)
    agree_by_algebra("1 mile", "2 parsec", "", [], [], None)


class Grader:
    """Grades batches of responses; starts its workers only when algebra is needed.

    `timeout` is in seconds and holds for each comparison.
    """

    def __init__(self, workers: int = 2, timeout: float = TIMEOUT) -> None:
        self._pool = WorkerPool(ALGEBRA, workers, timeout, prepare=(WARM_UP,))

    def grade_many(self, pairs: Iterable[Pair]) -> list[Grade]:
        """A grade for each (response, gold) or (response, gold, spec), in order (section 6)."""
        cases = [pair if len(pair) == 3 else (*pair, PLAIN) for pair in pairs]
        answers = [find_answer(response) for response, _, _ in cases]
        claims = [
            (answer, gold, spec)
            for (answer, _), (_, gold, spec) in zip(answers, cases, strict=True)
            if answer is not None
        ]
        grades = iter(self.agree_many(claims))
        return [
            Grade(0.0, missing or "no_box") if answer is None else next(grades)
            for answer, missing in answers
        ]

    def agree_many(self, pairs: Iterable[Pair]) -> list[Grade]:
        """A grade for each (answer, gold) or (answer, gold, spec), in order; answers stand bare."""
        cases = [pair if len(pair) == 3 else (*pair, PLAIN) for pair in pairs]
        verdicts: dict[tuple[str, str, AnswerSpec], bool | Outcome | None] = {}
        for case in cases:
            if case not in verdicts:
                verdicts[case] = _decide(*case)
        open_ = [case for case, verdict in verdicts.items() if verdict is None]
        outcomes = self._pool.map([(a, g, *astuple(spec)) for a, g, spec in open_])
        verdicts |= zip(open_, outcomes, strict=True)
        return [_grade(verdicts[case], case[0]) for case in cases]

    def close(self) -> None:
        """End the worker processes; they also end with the grader itself."""
        self._pool.close()


def _decide(answer: str, gold: str, spec: AnswerSpec) -> bool | None:
    try:
        return agree(answer, gold, spec)
    except NeedsAlgebraError:
        return None


def _grade(verdict: bool | Outcome | None, answer: str) -> Grade:
    if isinstance(verdict, Outcome):
        fault = verdict.fault
        if (
            fault == "timeout"
            or fault.startswith("the worker died")
            or (not fault and verdict.value is None)
        ):
            return Grade(0.0, "timeout", answer)
        verdict = bool(verdict.value)  # an answer that algebra breaks on is wrong
    return Grade(1.0, "correct", answer) if verdict else Grade(0.0, "wrong", answer)


@lru_cache(maxsize=1)
def _grader() -> Grader:
    return Grader(workers=1)


def grade(
    response: str,
    gold: str,
    kind: str = "",
    options: Sequence[str] = (),
    accepted: Sequence[str] = (),
    tolerance: float | None = None,
) -> Grade:
    """The grade of one response (section 6); batches go faster through `Grader`.

    `kind`, `options`, `accepted` and `tolerance` are what a corpus says about the gold answer
    (`AnswerSpec`). UserError for an unknown kind.
    """
    return _grader().grade_many([(response, gold, spec_of(kind, options, accepted, tolerance))])[0]
