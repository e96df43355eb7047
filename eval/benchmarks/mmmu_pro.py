"""MMMU-Pro: four options, ten options, and question and options in the picture alone."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, attach_marked, literal_list, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("id", "options", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        name, options = f"{row.config}/{row['id']}", literal_list(row["options"])
        if row.config == "vision":
            text = ask("mmmu_pro", settings, question="", options=())
            return Sample(name, text, row["answer"], (row.picture(),), tuple(options))
        (question, *shown), pictures = attach_marked(row, [row["question"], *options])
        text = ask("mmmu_pro", settings, question=question, options=shown)
        return Sample(name, text, row["answer"], pictures, tuple(shown))

    return read_rows(source, COLUMNS, read)
