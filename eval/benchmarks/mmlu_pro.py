"""MMLU-Pro: up to ten options."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("question_id", "question", "options", "answer", "category")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["options"])
        text = ask("mmlu_pro", settings, question=row["question"], options=options)
        name = f"{row['category']}/{row['question_id']}"
        return Sample(name, text, row["answer"].strip(), options=options)

    return read_rows(source, COLUMNS, read)
