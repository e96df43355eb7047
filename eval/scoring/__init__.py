"""From extracted answers to scores, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.scoring import ocrbench
from eval.scoring.rules import RULES, Algebra
from eval.suite import Sample
from zppo_core.grading import Grader


@dataclass(frozen=True)
class RuleScore:
    """A score in [0, 1], and correct, wrong, partial, unparsed or timeout."""

    score: float
    outcome: str


def has_rule(name: str) -> bool:
    """Whether a rule of this name decides without a judge."""
    return name in RULES or name == "ocrbench"


def score_all(items: Sequence[tuple[Sample, str, str | None]], grader: Grader) -> list[RuleScore]:
    """The score of each (sample, rule, answer), in order; what is left to algebra in one batch.

    No answer is 0 and unparsed. KeyError for a rule that is none.
    """
    found = [_by_rule(*item) for item in items]
    pairs = [
        (rf"\boxed{{{answer}}}", gold)
        for result in found if isinstance(result, Algebra) for answer, gold in result.pairs
    ]  # fmt: skip
    grades = iter(grader.grade_many(pairs))
    scores = []
    for (_, _, answer), result in zip(items, found, strict=True):
        if isinstance(result, Algebra):
            own = [next(grades) for _ in result.pairs]
            best = max(own, key=lambda g: g.reward)
            scores.append(RuleScore(best.reward, best.outcome))
        elif answer is None:
            scores.append(RuleScore(0.0, "unparsed"))
        else:
            outcome = {0.0: "wrong", 1.0: "correct"}.get(result, "partial")
            scores.append(RuleScore(result, outcome))
    return scores


def _by_rule(sample: Sample, rule: str, answer: str | None) -> float | Algebra:
    if answer is None:
        return 0.0
    if rule == "ocrbench":
        return ocrbench.score(answer, (sample.gold, *sample.golds), sample.extra)
    return RULES[rule](sample, answer)
