"""AI2D: diagrams with letters for labels; the gold answer is an option's index."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("question", "options", "answer", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["options"])
        text = ask("ai2d", settings, question=row["question"], options=options)
        gold = letter(row["answer"])
        return Sample(str(row.index), text, gold, (row.picture(),), options)

    return read_rows(source, COLUMNS, read)
