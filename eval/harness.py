"""Runs a benchmark: lm-eval's evaluator over our task and our engine, and the score over all.

A benchmark may be run in parts, each of which can be kept and taken up again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

from eval.benchmark import Benchmark, Sample
from eval.protocol import EvalSample, Evaluator
from eval.scoring import FAULT, totals
from eval.suite import load
from zppo_core.errors import UserError
from zppo_core.protocols import Engine, Progress


@dataclass(frozen=True)
class EvalScore:
    """A benchmark's score [fraction] with its 95 % interval over `clusters` of samples."""

    n: int
    expected_n: int
    score: float | None
    stderr: float | None
    low: float | None
    high: float | None
    unparsed: int
    missing_reason: str | None = None
    malformed: int | None = None  # judge's replies that were no verdict: counted as wrong
    clusters: int | None = None


@dataclass(frozen=True)
class Part:
    """Part `index` of `of` of a benchmark: neighbours in the order of its samples."""

    index: int = 0
    of: int = 1

    def cut(self, n: int) -> range:
        """The samples of this part, of `n`."""
        return range(n * self.index // self.of, n * (self.index + 1) // self.of)


WHOLE = Part()


@dataclass(frozen=True)
class ScoredPart:
    """What a part came to; `fault` says why there is nothing at all."""

    samples: tuple[EvalSample, ...] = ()
    unreadable: tuple[str, ...] = ()
    fault: str = ""


def expected_of(benchmark: Benchmark, limit: int) -> int:
    """Samples that a run asks for."""
    return min(limit or benchmark.expected, benchmark.expected)


def parts_of(benchmark: Benchmark, limit: int, shard: int) -> list[Part]:
    """The parts of about `shard` samples into which a benchmark is cut."""
    n = max(1, -(-expected_of(benchmark, limit) // shard))
    return [Part(i, n) for i in range(n)]


def evaluate(
    engine: Engine,
    benchmark: Benchmark,
    evaluator: Evaluator,
    thinking: bool,
    progress: Progress | None = None,
) -> tuple[list[EvalSample], EvalScore]:
    """Every sample of `benchmark` asked once and marked, and the score over all."""
    marked = run_part(engine, benchmark, evaluator, thinking, WHOLE, progress)
    return list(marked.samples), summarise(benchmark, evaluator, [marked])


def run_part(
    engine: Engine,
    benchmark: Benchmark,
    evaluator: Evaluator,
    thinking: bool,
    part: Part,
    progress: Progress | None = None,
) -> ScoredPart:
    """The part's samples asked and marked, by lm-eval's evaluator.

    A sample whose media cannot be read is named and left out. A data set that cannot be had, or a
    judge that is not there, is the part's fault, not an error: other benchmarks go on.
    """
    if benchmark.kind == "judge" and evaluator.judge is None:
        return ScoredPart(fault="a judge decides it, and evaluation.judge is none")
    protocol = evaluator.protocol
    try:
        samples = list(load(benchmark, protocol.source, protocol.limit, evaluator.settings))
    except UserError as fault:
        return ScoredPart(fault=str(fault))
    chosen = part.cut(len(samples))
    if not chosen:
        return ScoredPart()
    return _driven(engine, benchmark, evaluator, thinking, [samples[i] for i in chosen], progress)


def _driven(
    engine: Engine,
    benchmark: Benchmark,
    evaluator: Evaluator,
    thinking: bool,
    samples: Sequence[Sample],
    progress: Progress | None,
) -> ScoredPart:
    from lm_eval.evaluator import evaluate as lm_evaluate

    from eval.lm_eval_model import EngineLM
    from eval.lm_eval_task import BenchmarkTask

    task = BenchmarkTask(benchmark=benchmark, evaluator=evaluator, samples=samples)
    model = EngineLM(engine, thinking, progress)
    # the score over all parts and its interval are ours, so nothing is resampled here
    lm_evaluate(
        model,
        {"tasks": {task.config.task: task}, "groups": {}},
        bootstrap_iters=0,
        log_samples=False,
    )
    return ScoredPart(tuple(task.scored), tuple(task.unreadable))


def summarise(benchmark: Benchmark, evaluator: Evaluator, parts: Sequence[ScoredPart]) -> EvalScore:
    """The benchmark's total over its parts, which says so itself when samples are missing."""
    expected = expected_of(benchmark, evaluator.protocol.limit)
    samples = [s for part in parts for s in part.samples]
    unreadable = [u for part in parts for u in part.unreadable]
    faults = [part.fault for part in parts if part.fault]
    n = len(samples)
    name = evaluator.settings.total_of(benchmark.name, benchmark.totals)
    clusters = {s.sample_id: s.cluster for s in samples if s.cluster}
    total = totals.total(name, [(s.sample_id, s.score) for s in samples], clusters)
    if total is None or faults:
        reasons = [*faults, *unreadable, "no sample could be loaded"]
        return EvalScore(0, expected, None, None, None, None, 0, reasons[0])
    asked = n + len(unreadable)
    if evaluator.protocol.limit and expected - benchmark.whole < asked < expected:
        expected = asked  # a limit takes whole groups: less than one is left over
    reasons = [
        *_amiss(benchmark, n, expected, unreadable),
        *(_incomplete(benchmark, samples) if name == "worst" else ()),
        *_broken(samples),
    ]
    malformed = sum(s.outcome == "malformed" for s in samples)
    return EvalScore(
        n,
        expected,
        total.score,
        total.stderr,
        total.low,
        total.high,
        sum(s.answer is None for s in samples),
        "; ".join(reasons) or None,
        None if evaluator.judge is None or benchmark.kind == "rule" else malformed,
        total.clusters,
    )


def _amiss(benchmark: Benchmark, n: int, expected: int, unreadable: Sequence[str]) -> list[str]:
    """What is wrong with the number of samples."""
    if n > expected:
        where = f"{benchmark.dataset}@REVISION"
        return [
            f"{n} samples, {n - expected} more than the {expected} of this benchmark; pin a "
            f"revision that has them: datasets={benchmark.name}={where}"
        ]
    faults = [f"{n} of {expected} samples"] if n < expected else []
    if unreadable:
        faults.append(f"{len(unreadable)} unreadable, first {unreadable[0]}")
    return faults


def _incomplete(benchmark: Benchmark, samples: Sequence[EvalSample]) -> list[str]:
    """Variants that no group has, or groups without all: their worst case is too good."""
    variants_of: dict[str, set[str]] = {}
    for sample in samples:
        group, _, variant = sample.sample_id.partition("/")
        variants_of.setdefault(group, set()).add(variant)
    present = set().union(*variants_of.values())
    missing = [str(i) for i in range(1, benchmark.whole + 1) if str(i) not in present]
    if missing:
        return [f"variant {', '.join(missing)} is missing for every question"]
    short = [group for group, variants in variants_of.items() if len(variants) < benchmark.whole]
    if short:
        return [f"{len(short)} of {len(variants_of)} questions lack a variant, first {short[0]}"]
    return []


def _broken(samples: Sequence[EvalSample]) -> list[str]:
    """Answers that count as wrong because their rule failed on them."""
    broken = [s for s in samples if s.outcome.startswith(FAULT)]
    if not broken:
        return []
    first = broken[0]
    return [
        f"{len(broken)} wrong by a fault of their rule, first {first.sample_id}: "
        f"{first.outcome.removeprefix(FAULT)}"
    ]


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


class ScoreRow(TypedDict):
    """A row of eval_scores: whose it is, and an `EvalScore`."""

    model_key: str
    run_key: str | None  # None: a model outside any run
    role: str
    suite: str
    protocol_key: str
    benchmark: str
    family: str
    n: int
    expected_n: int
    score: float | None
    stderr: float | None
    low: float | None
    high: float | None
    unparsed: int
    missing_reason: str | None
    malformed: int | None
    clusters: int | None  # None: written before schema 7


class SampleRow(TypedDict):
    """What is read of a row of eval_samples."""

    sample_id: str
    output: str
    answer: str | None
    score: float
    outcome: str


def rows_of(
    scored: Scored, samples: Sequence[EvalSample], score: EvalScore
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Rows of eval_samples, and the row of eval_scores."""
    key = asdict(scored)
    return [key | asdict(s) for s in samples], key | asdict(score)
