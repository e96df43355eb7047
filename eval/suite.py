"""The benchmark suites as data, and where their samples come from.

A benchmark is a record; how a row of its data set becomes a question, and which scorer reads the
answer, is its task (`eval/tasks/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zppo_core.data.digits import BENCHMARKS as DIGITS
from zppo_core.data.digits import benchmark_questions
from zppo_core.errors import UserError


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its name, where its rows are, how many there are, how they are scored."""

    name: str  # abbreviation as in the paper's tables, or the suite's own
    family: str  # VLM, LLM or Video
    dataset: str  # hub id, or "digits" for what is composed here
    split: str
    expected: int  # samples of the whole split
    scorer: str  # a name of eval.scoring
    configs: tuple[str, ...] = ()
    licence: str = ""
    gated: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """One question of a benchmark as it is asked, and its gold answer.

    `options` are the lettered choices, if any; `extra` is what the scorer needs besides.
    """

    id: str
    text: str
    gold: str
    images: tuple[bytes, ...] = ()
    options: tuple[str, ...] = ()
    category: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


NANO_SAMPLES = 2000  # per benchmark; the preset asks the first 300: 2.9 points of sampling error

SUITES: dict[str, tuple[Benchmark, ...]] = {
    "nano": tuple(
        Benchmark(name, b.family, "digits", "held-out scans", NANO_SAMPLES, "exact",
                  licence="BSD-3-Clause")
        for name, b in DIGITS.items()
    ),
}  # fmt: skip


def benchmarks(suite: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a named suite, or of a comma-separated list of their names.

    UserError if a name is unknown.
    """
    if suite in SUITES:
        return SUITES[suite]
    known = {b.name: b for own in SUITES.values() for b in own}
    names = [name.strip() for name in suite.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"no suite or benchmark {unknown[0]!r}; suites: {', '.join(SUITES)}; benchmarks: "
            f"{', '.join(known)}"
        )
    return tuple(known[name] for name in names)


def find(suite: str, name: str) -> Benchmark:
    """The record `name` of `suite`; UserError if either is unknown."""
    for benchmark in benchmarks(suite):
        if benchmark.name == name:
            return benchmark
    raise UserError(f"suite {suite} has no benchmark {name!r}")


def load(benchmark: Benchmark, source: str = "", limit: int = 0) -> Iterator[Sample]:
    """The samples of `benchmark` in a fixed order, at most `limit` if it is not 0.

    `source` replaces the data set: a folder or another hub id with the same columns.
    """
    if benchmark.dataset == "digits":
        n = min(limit or benchmark.expected, benchmark.expected)
        for q in benchmark_questions(benchmark.name, n):
            yield Sample(q.id, q.text, q.gold, q.images, category=q.category)
        return
    raise UserError(f"{benchmark.name}: no loader for {benchmark.dataset}")
