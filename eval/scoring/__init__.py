"""From extracted answers to scores, rule by rule."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from eval.benchmark import Sample
from eval.scoring import ocr_text, ocrbench
from eval.scoring.rules import RULES, Algebra, Rule
from zppo_core.errors import UserError
from zppo_core.extensions import imported, is_outside
from zppo_core.processes.killable import Outcome, WorkerPool
from zppo_core.rewards.grader import Grader

FAULT = "fault: "  # an outcome that begins so ends with the error that a rule raised
OCR_SECONDS = 60.0  # for one answer; a table of thousands of cells takes longer
OCR_MEMORY_MB = 4096
WORDNET = (
    "METEOR counts no synonyms here, for WordNet's data is not installed: OCRBench's pages, "
    "translations and short handwritten answers come out a little lower; get it with "
    "`python -m nltk.downloader wordnet`"
)

Item = tuple[Sample, str, str | None]  # (sample, rule, answer)


@dataclass(frozen=True)
class RuleScore:
    """A score in [0, 1], and correct, wrong, partial, unparsed, timeout, or `FAULT` and why."""

    score: float
    outcome: str


def score_all(items: Sequence[Item], grader: Grader) -> list[RuleScore]:
    """The score of each (sample, rule, answer), in order; what is left to algebra in one batch.

    No answer is 0 and unparsed. An answer or gold answer that a rule breaks on is 0, with the error
    as its outcome and on stderr, and the others go on. KeyError for a rule that is none.
    """
    results = [_by_rule(*item) for item in items]
    for i, by_worker in _by_ocrbench(items).items():
        results[i] = by_worker
    pairs = [
        (answer, gold)
        for result in results
        if isinstance(result, Algebra)
        for answer, gold in result.pairs
    ]
    grades = iter(grader.agree_many(pairs))
    scores = []
    for (sample, rule, answer), result in zip(items, results, strict=True):
        if isinstance(result, Algebra):
            of_sample = [next(grades) for _ in result.pairs]
            best = max(of_sample, key=lambda g: g.reward)
            scores.append(RuleScore(best.reward, best.outcome))
        elif answer is None:
            scores.append(RuleScore(0.0, "unparsed"))
        elif isinstance(result, str):
            if result != "timeout":
                print(f"zppo: sample {sample.id}, rule {rule}: {result}", file=sys.stderr)
            scores.append(RuleScore(0.0, result))
        else:
            outcome = {0.0: "wrong", 1.0: "correct"}.get(result, "partial")
            scores.append(RuleScore(result, outcome))
    return scores


def rule_of(name: str) -> Rule:
    """The rule of this name, or a user's own; KeyError, or UserError, if there is none."""
    if not is_outside(name):
        return RULES[name]
    rule = imported(name)
    if not callable(rule):
        raise UserError(f"rule {name!r} is no function of a sample and an answer")
    return cast(Rule, rule)


def _by_rule(sample: Sample, rule: str, answer: str | None) -> float | Algebra | str:
    """The rule's result; as text, the outcome of one that failed."""
    if answer is None or rule == "ocrbench":
        return 0.0
    decide = rule_of(rule)
    try:
        return decide(sample, answer)
    except Exception as error:  # one answer must not cost the marks of all others
        return _fault(f"{type(error).__name__}: {error}")


def _by_ocrbench(items: Sequence[Item]) -> dict[int, float | str]:
    """The results of OCRBench's answers by their places in `items`, from killable workers."""
    places = [i for i, (_, rule, answer) in enumerate(items) if rule == "ocrbench" and answer]
    if not places:
        return {}
    if not ocr_text.has_wordnet() and any(ocrbench.uses_meteor(items[i][0].extra) for i in places):
        print(f"zppo: {WORDNET}", file=sys.stderr)
    jobs = [
        [answer, [sample.gold, *sample.golds], dict(sample.extra)]
        for sample, _, answer in (items[i] for i in places)
    ]
    pool = WorkerPool("eval.scoring.ocrbench:score", 2, OCR_SECONDS, OCR_MEMORY_MB)
    try:
        return dict(zip(places, map(_result, pool.map(jobs)), strict=True))
    finally:
        pool.close()


def _result(outcome: Outcome) -> float | str:
    if isinstance(outcome.value, (int, float)):
        return float(outcome.value)
    why = outcome.fault or f"{outcome.value!r} is no score"
    return why if why == "timeout" else _fault(why)


def _fault(why: str) -> str:
    return FAULT + " ".join(why.split())[:300]
