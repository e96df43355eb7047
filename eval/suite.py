"""The benchmark suites as data, and where their samples come from.

A benchmark is a file of `eval/benchmarks/`: its record, and how a row of its data set becomes a
question. A rule of `eval/scoring/` or a judge decides on the answer.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from pkgutil import iter_modules

import eval.benchmarks
from eval.benchmark import Benchmark, Picture, Sample
from eval.picture_bounds import bounded
from eval.prompting import Template
from eval.rows import Source
from eval.scoring.totals import group_of
from eval.settings import Settings
from zppo_core import extensions
from zppo_core.data.digits import BENCHMARKS, ZONE_BENCHMARKS, benchmark_questions
from zppo_core.data.digits import Benchmark as Digits
from zppo_core.errors import UserError
from zppo_core.extensions import is_outside

NANO_SAMPLES = 2000  # per benchmark; the preset asks 300: sampling error of 2.9 points at 50 %
PAPER31 = (  # files of eval/benchmarks, in the order of the paper's tables
    "ai2d",
    "babyvision",
    "charxiv",
    "dynamath",
    "embspatial",
    "infovqa",
    "mathverse",
    "mathvision",
    "mathvista",
    "mmmu_pro",
    "mmvet",
    "ocrbench_en",
    "ocrbench_zh",
    "visualpuzzles",
    "vlmsareblind",
    "wemath",
    "aime25",
    "aime26",
    "ceval",
    "gpqa",
    "hle",
    "imo_answerbench",
    "mmlu",
    "mmlu_pro",
    "mmlu_redux",
    "multichallenge",
    "mmvu",
    "mvbench",
    "videomme",
    "videomme_subtitles",
    "videommmu",
)


def named(task: str) -> Benchmark:
    """The record of a file of `eval/benchmarks`."""
    record: Benchmark = importlib.import_module(f"eval.benchmarks.{task}").BENCHMARK
    return record


def _digits(composed: Mapping[str, Digits]) -> tuple[Benchmark, ...]:
    return tuple(
        Benchmark(
            name,
            b.family,
            "digits",
            "held-out scans",
            NANO_SAMPLES,
            "exact",
            licence="BSD-3-Clause",
            kind="rule",
        )
        for name, b in composed.items()
    )


SUITES: dict[str, tuple[Benchmark, ...]] = {
    "nano": _digits(BENCHMARKS),
    "zone": _digits(ZONE_BENCHMARKS),
    "paper31": tuple(map(named, PAPER31)),
}


def templates(asked: Iterable[Benchmark] = ()) -> list[Template]:
    """The prompts of all benchmarks of ours, and of those that are asked."""
    built_in = (named(m.name) for m in iter_modules(eval.benchmarks.__path__) if m.name != "common")
    return [prompt for benchmark in (*built_in, *asked) for prompt in benchmark.prompts]


def code_of(benchmark: Benchmark) -> str:
    """Digest (hex) of the file of a benchmark of one's own; empty for ours, which have versions."""
    if benchmark.samples is None or benchmark.samples.__module__.startswith("eval.benchmarks."):
        return ""
    code = Path(inspect.getfile(benchmark.samples)).read_bytes()
    return hashlib.sha256(code).hexdigest()[:16]


def benchmarks(suite: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a named suite, or of a comma-separated list of suites and benchmarks.

    A benchmark of one's own is `package.module:NAME` or `path/to/file.py:NAME`. UserError if a name
    is unknown.
    """
    by_name = {b.name: (b,) for members in SUITES.values() for b in members} | SUITES
    names = [name.strip() for name in suite.split(",")]
    by_name |= {n: (extensions.load(n, Benchmark, "benchmark"),) for n in names if is_outside(n)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UserError(
            f"no suite or benchmark {unknown[0]!r}; suites: {', '.join(SUITES)}; benchmarks: "
            f"{', '.join(name for name in by_name if name not in SUITES)}"
        )
    return tuple(dict.fromkeys(b for name in names for b in by_name[name]))


def find(suite: str, name: str) -> Benchmark:
    """The record `name` of `suite`; UserError if either is unknown."""
    for benchmark in benchmarks(suite):
        if benchmark.name == name:
            return benchmark
    raise UserError(f"suite {suite} has no benchmark {name!r}")


def load(
    benchmark: Benchmark, source: str = "", limit: int = 0, settings: Settings | None = None
) -> Iterator[Sample]:
    """The samples of `benchmark` in a fixed order, at most `limit` if it is not 0.

    `source` is a folder with copies of the data sets under their hub ids; empty: the hub itself.
    With a limit the samples are spread evenly over the whole; where a total needs whole groups,
    whole groups are. UserError if the data set is missing, gated or lacks a column, or the limit
    holds no group; a single unreadable picture shows only when it is read.
    """
    if benchmark.dataset == "digits":
        n = min(limit or benchmark.expected, benchmark.expected)
        for q in benchmark_questions(benchmark.name, n):
            yield Sample(q.id, q.text, q.gold, (_still(q.images),) if q.images else ())
        return
    if benchmark.samples is None:
        raise UserError(f"{benchmark.name}: its record names no `samples`")
    settings = settings or Settings()
    place = Source(source, benchmark, settings.dataset_of(benchmark.name))
    samples = benchmark.samples(place, settings)
    if benchmark.family != "Video":  # frames have bounds of their own
        samples = (bounded(sample, settings) for sample in samples)
    if not limit:
        yield from samples
    elif benchmark.whole:
        yield from _whole_groups(benchmark, list(samples), limit)
    else:
        everything = list(samples)
        chosen = min(limit, len(everything))
        yield from (everything[i * len(everything) // chosen] for i in range(chosen))


def _whole_groups(benchmark: Benchmark, samples: list[Sample], limit: int) -> list[Sample]:
    """At most `limit` of `samples`, in order, of groups that are spread evenly over all.

    A group is taken when the share of `limit` that is due by then has room for it, so that less
    than a group is missing at the end.
    """
    sizes = Counter(group_of(sample.id) for sample in samples)
    limit = min(limit, len(samples))
    chosen: set[str] = set()
    seen = taken = 0
    for group, size in sizes.items():
        seen += size
        if taken + size <= seen * limit // len(samples):
            chosen.add(group)
            taken += size
    if samples and not chosen:
        raise UserError(
            f"{benchmark.name}: a limit of {limit} samples holds no whole group; set "
            f"evaluation.limit to {benchmark.whole} or more"
        )
    return [sample for sample in samples if group_of(sample.id) in chosen]


def _still(images: tuple[bytes, ...]) -> Picture:
    return lambda: images
