"""Asks an engine a benchmark's questions under a protocol, and scores what it says.

No random fallback anywhere: what cannot be parsed is wrong, and counted as unparsed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.suite import Benchmark, Sample, load
from zppo_core.config import EvaluationConfig
from zppo_core.engines.base import Engine, Progress, Sampling
from zppo_core.grading import Grader
from zppo_core.prompts import Templates
from zppo_core.streams import derive_seed
from zppo_core.types import Completion, Grade, Prompt

SCORER_VERSION = "1"


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


def wilson(successes: float, n: int, z: float = 1.959963985) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, both ends in [0, 1]."""
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


def protocol_key(protocol: EvaluationConfig, thinking: bool, templates: Templates) -> str:
    """Digest (hex) of all that decides a score besides weights and benchmark."""
    settings = asdict(protocol) | {"thinking": thinking, "closer": templates.closer}
    settings |= {"scorer_version": SCORER_VERSION}
    del settings["suite"]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def sampling_of(protocol: EvaluationConfig) -> Sampling:
    """The protocol's decoding, one response a question (pass@1)."""
    p = protocol
    return Sampling(p.max_tokens, 1, p.temperature, p.top_p, p.top_k, p.min_p,
                    p.presence_penalty, p.repetition_penalty)  # fmt: skip


def ask(sample: Sample, templates: Templates, thinking: bool) -> Prompt:
    """The sample's question with the closer, as at training."""
    return Prompt(templates.with_closer(sample.text), sample.images(), thinking)


def evaluate(engine: Engine, benchmark: Benchmark, protocol: EvaluationConfig, thinking: bool,
             templates: Templates, grader: Grader, source: str = "",
             progress: Progress | None = None) -> tuple[list[EvalSample], EvalScore]:  # fmt: skip
    """Every sample of `benchmark` asked once and scored, and the score over all of them."""
    samples = list(load(benchmark, source, protocol.limit))
    prompts = [ask(s, templates, thinking) for s in samples]
    seeds = [derive_seed(0, "evaluation", benchmark.name, s.id) for s in samples]
    outputs = engine.generate(prompts, sampling_of(protocol), seeds, progress)
    completions = [group[0] for group in outputs]
    grades = grader.grade_many(
        [(c.text, s.gold) for c, s in zip(completions, samples, strict=True)]
    )
    scored = [
        _scored(benchmark, *row) for row in zip(samples, prompts, completions, grades, strict=True)
    ]
    expected = min(protocol.limit or benchmark.expected, benchmark.expected)
    return scored, summarise(scored, expected)


def _scored(benchmark: Benchmark, sample: Sample, prompt: Prompt, completion: Completion,
            grade: Grade) -> EvalSample:  # fmt: skip
    return EvalSample(
        sample.id, prompt.digest(), completion.text, grade.answer,
        "last box" if grade.answer is not None else "none", benchmark.scorer, SCORER_VERSION,
        grade.reward, grade.outcome, len(completion.token_ids_T),
    )  # fmt: skip


def summarise(samples: Sequence[EvalSample], expected: int) -> EvalScore:
    """Mean score over `samples`, which says so itself when they are fewer than `expected`."""
    n = len(samples)
    if n == 0:
        return EvalScore(0, expected, None, None, None, None, 0, "no sample could be loaded")
    mean = sum(s.score for s in samples) / n
    variance = sum((s.score - mean) ** 2 for s in samples) / max(n - 1, 1)
    low, high = wilson(mean * n, n)
    short = None if n >= expected else f"{n} of {expected} samples"
    unparsed = sum(s.answer is None for s in samples)
    return EvalScore(n, expected, mean, math.sqrt(variance / n), low, high, unparsed, short)


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
