"""EmbSpatial-Bench: spatial relations in indoor scenes, four options."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("question_id", "question", "answer_options", "answer", "relation", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["answer_options"])
        text = ask("embspatial", settings, question=row["question"], options=options)
        name = f"{row['relation']}/{row['question_id']}"
        return Sample(name, text, letter(row["answer"]), (row.picture(),), options)

    return read_rows(source, COLUMNS, read)
