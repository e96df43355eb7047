"""OCRBench v2, the Chinese types."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmarks import ocrbench_en
from eval.rows import Source
from eval.settings import Settings
from eval.suite import Sample


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    return ocrbench_en.samples(source, settings, language="cn")
