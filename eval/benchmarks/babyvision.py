"""BabyVision: choices (gold is an index) and blanks (gold is a text)."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("taskId", "type", "ansType", "question", "options", "choiceAns", "blankAns", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        choice = row["ansType"] == "choice"
        options = tuple(row["options"]) if choice else ()
        text = ask("babyvision", settings, question=row["question"], options=options)
        gold = letter(row["choiceAns"]) if choice else str(row["blankAns"])
        name = f"{row['type']}/{row['taskId']}"
        rule = "choice" if choice else "text"
        return Sample(name, text, gold, (row.picture(),), options, rule=rule)

    return read_rows(source, COLUMNS, read)
