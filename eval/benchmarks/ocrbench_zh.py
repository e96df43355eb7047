"""OCRBench v2, the Chinese types."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks import ocrbench_en
from eval.rows import Source
from eval.settings import Settings


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    return ocrbench_en.samples(source, settings, language="cn")
