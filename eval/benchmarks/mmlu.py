"""MMLU: 57 subjects, four choices."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("question", "subject", "choices", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["choices"])
        text = ask("mmlu", settings, question=row["question"], options=options)
        name = f"{row['subject']}/{row.index}"
        return Sample(name, text, letter(row["answer"]), options=options)

    return read_rows(source, COLUMNS, read)
