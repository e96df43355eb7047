"""MM-Vet: open questions; the gold answer joins elements by <AND> and <OR>."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("question_id", "question", "answer", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask("mmvet", settings, question=row["question"])
        extra = {"question": row["question"]}
        gold, pictures = str(row["answer"]), (row.picture(),)
        return Sample(str(row["question_id"]), text, gold, pictures, extra=extra)

    return read_rows(source, COLUMNS, read)
