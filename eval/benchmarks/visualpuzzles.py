"""VisualPuzzles: logic puzzles; the choices stand in the text or in the picture."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("id", "question", "options", "answer", "category", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["options"] or ())
        text = ask("visualpuzzles", settings, question=row["question"], options=options)
        name = f"{row['category']}/{row['id']}"
        return Sample(name, text, row["answer"].strip(), (row.picture(),), options)

    return read_rows(source, COLUMNS, read)
