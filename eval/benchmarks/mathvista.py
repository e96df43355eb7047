"""MathVista testmini: choices by their text, whole numbers, decimals and lists."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = (
    "pid",
    "question",
    "choices",
    "unit",
    "precision",
    "answer",
    "question_type",
    "answer_type",
    "decoded_image",
)


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["choices"] or ()) if row["question_type"] == "multi_choice" else ()
        precision = None if row["precision"] is None else int(row["precision"])
        text = ask(
            "mathvista",
            settings,
            question=row["question"],
            unit=row["unit"],
            answer_type=row["answer_type"],
            precision=precision or 0,
            options=options,
        )
        extra = {"answer_type": row["answer_type"], "precision": precision}
        pictures = (row.picture("decoded_image"),)
        return Sample(str(row["pid"]), text, str(row["answer"]), pictures, options, extra=extra)

    return read_rows(source, COLUMNS, read)
