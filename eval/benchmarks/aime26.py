"""AIME 2026: the gold answer is a whole number from 0 to 999."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("problem_idx", "problem", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        return Sample(
            str(row["problem_idx"]),
            ask("aime", settings, question=row["problem"]),
            str(row["answer"]),
        )

    return read_rows(source, COLUMNS, read)
