"""OCRBench v2, the Chinese types."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks import ocrbench_en
from eval.rows import Source
from eval.settings import Settings


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    return ocrbench_en.samples(source, settings, language="cn")


BENCHMARK = Benchmark(
    "OCRZH",
    "VLM",
    "ling99/OCRBench_v2",
    "test",
    2600,
    "ocrbench",
    task="ocrbench_zh",
    cluster="image",
    licence="MIT; for research",
    kind="rule",
    totals=("mean_of_groups", "pooled"),
    revision="c7e7cdf23bdb6774661e9b0caf0d9935a42feb8b",
    prompts=(ocrbench_en.PROMPT,),
    samples=samples,
)
