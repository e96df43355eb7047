"""Asks an engine a benchmark's questions under a protocol, and scores what it says.

No random fallback anywhere: what cannot be parsed is wrong, and counted as unparsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.rows import UnreadableError
from eval.scoring import score_all, totals
from eval.scoring.extract import extract
from eval.settings import Settings
from eval.suite import Benchmark, Sample, load
from zppo_core.config import EvaluationConfig
from zppo_core.engines.base import Engine, Progress, Sampling
from zppo_core.errors import UserError
from zppo_core.grading import Grader, extract_boxed
from zppo_core.prompts import Templates
from zppo_core.streams import derive_seed
from zppo_core.types import Completion, Prompt

SCORER_VERSION = "2"


@dataclass(frozen=True)
class EvalSample:
    """One answered question; the columns of eval_samples without those of model and run."""

    sample_id: str
    prompt_digest: str
    output: str
    answer: str | None
    extractor: str
    scorer: str
    scorer_version: str
    score: float
    outcome: str
    tokens: int
    seconds: float | None = None


@dataclass(frozen=True)
class EvalScore:
    """A benchmark's score [fraction] with its 95 % interval (Wilson)."""

    n: int
    expected_n: int
    score: float | None
    stderr: float | None
    low: float | None
    high: float | None
    unparsed: int
    missing_reason: str | None = None


def protocol_key(protocol: EvaluationConfig, thinking: bool, templates: Templates) -> str:
    """Digest (hex) of all that decides a score besides weights and benchmark."""
    settings = asdict(protocol) | {"thinking": thinking, "closer": templates.closer}
    settings |= {"scorer_version": SCORER_VERSION}
    del settings["suite"], settings["source"]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def sampling_of(protocol: EvaluationConfig) -> Sampling:
    """The protocol's decoding, one response a question (pass@1)."""
    p = protocol
    return Sampling(p.max_tokens, 1, p.temperature, p.top_p, p.top_k, p.min_p,
                    p.presence_penalty, p.repetition_penalty)  # fmt: skip


def ask(sample: Sample, templates: Templates, thinking: bool) -> Prompt:
    """The sample's question with the closer, as at training; UnreadableError if a part is."""
    context = sample.context() + "\n" if sample.context is not None else ""
    return Prompt(templates.with_closer(context + sample.text), sample.images(), thinking,
                  history=sample.history)  # fmt: skip


def evaluate(engine: Engine, benchmark: Benchmark, protocol: EvaluationConfig, thinking: bool,
             templates: Templates, grader: Grader, source: str = "",
             progress: Progress | None = None,
             settings: Settings | None = None) -> tuple[list[EvalSample], EvalScore]:  # fmt: skip
    """Every sample of `benchmark` asked once and scored by its rule, and the score over all.

    A sample whose media cannot be read is left out and named in the score's reason. A benchmark
    that a judge decides has no score here, and says so.
    """
    settings = settings or Settings()
    expected = min(protocol.limit or benchmark.expected, benchmark.expected)
    if benchmark.kind == "judge":
        return [], _nothing(expected, "decided by a judge, which evaluation does not have yet")
    samples, prompts, unreadable = [], [], []
    try:
        everything = list(load(benchmark, source, protocol.limit, settings))
    except UserError as fault:  # this benchmark cannot be had; the others go on
        return [], _nothing(expected, str(fault))
    for sample in everything:
        try:
            prompts.append(ask(sample, templates, thinking))
            samples.append(sample)
        except UnreadableError as fault:
            unreadable.append(f"{sample.id}: {fault}")
    seeds = [derive_seed(0, "evaluation", benchmark.name, s.id) for s in samples]
    outputs = engine.generate(prompts, sampling_of(protocol), seeds, progress)
    completions = [group[0] for group in outputs]
    answers = [_answer(benchmark, c, thinking) for c in completions]
    rules = [s.rule or benchmark.scorer for s in samples]
    scores = score_all(
        [(s, r, a) for s, r, (a, _) in zip(samples, rules, answers, strict=True)], grader
    )
    scored = [
        EvalSample(s.id, p.digest(), c.text, answer, extractor, rule, SCORER_VERSION, own.score,
                   own.outcome, len(c.token_ids_T))
        for s, p, c, (answer, extractor), rule, own in zip(
            samples, prompts, completions, answers, rules, scores, strict=True
        )
    ]  # fmt: skip
    total = settings.total_of(benchmark.name, benchmark.totals)
    return scored, summarise(scored, expected, total, unreadable)


def _answer(benchmark: Benchmark, completion: Completion, thinking: bool) -> tuple[str | None, str]:
    """(answer, extractor); the digits are asked for a box and take nothing else."""
    if benchmark.dataset == "digits":
        answer = extract_boxed(completion.text)
        return answer, "last box" if answer is not None else "none"
    return extract(completion.text, thinking, cut=completion.finish == "length")


def _nothing(expected: int, reason: str) -> EvalScore:
    return EvalScore(0, expected, None, None, None, None, 0, reason)


def summarise(samples: Sequence[EvalSample], expected: int, total: str = "pooled",
              unreadable: Sequence[str] = ()) -> EvalScore:  # fmt: skip
    """The benchmark's total over `samples`, which says so itself when they are fewer."""
    n = len(samples)
    found = totals.total(total, [(s.sample_id, s.score) for s in samples])
    if found is None:
        return _nothing(expected, unreadable[0] if unreadable else "no sample could be loaded")
    short = None if n >= expected else f"{n} of {expected} samples"
    if unreadable:
        short = f"{n} of {expected} samples; {len(unreadable)} unreadable, first {unreadable[0]}"
    unparsed = sum(s.answer is None for s in samples)
    return EvalScore(n, expected, found.score, found.stderr, found.low, found.high, unparsed, short)


@dataclass(frozen=True)
class Scored:
    """Whose scores rows are: the key columns of eval_samples and eval_scores."""

    model_key: str
    run_key: str
    role: str
    suite: str
    protocol_key: str
    benchmark: str
    family: str


def rows_of(whose: Scored, samples: Sequence[EvalSample],
            score: EvalScore) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
    """Rows of eval_samples, and the row of eval_scores."""
    key = asdict(whose)
    return [key | asdict(s) for s in samples], key | asdict(score)
