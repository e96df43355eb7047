"""C-Eval: Chinese examinations in 52 subjects, a config a subject."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("id", "question", "A", "B", "C", "D", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(str(row[letter]) for letter in "ABCD")
        text = ask("ceval", settings, question=row["question"], options=options)
        name = f"{row.config}/{row['id']}"
        return Sample(name, text, row["answer"].strip(), options=options)

    return read_rows(source, COLUMNS, read)
