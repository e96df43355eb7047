"""IMO-AnswerBench: short answers to olympiad problems; the judge decides many."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("Problem ID", "Problem", "Short Answer", "Category")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask("imo_answerbench", settings, question=row["Problem"])
        return Sample(f"{row['Category']}/{row['Problem ID']}", text, str(row["Short Answer"]))

    return read_rows(source, COLUMNS, read)
