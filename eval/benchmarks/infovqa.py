"""InfographicVQA: short answers read off an infographic, scored by ANLS."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("questionId", "question", "answers", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        first, *others = (str(a) for a in row["answers"])
        text = ask("infovqa", settings, question=row["question"])
        name = str(row["questionId"])
        return Sample(name, text, first, (row.picture(),), golds=tuple(others))

    return read_rows(source, COLUMNS, read)
