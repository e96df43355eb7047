"""We-Math: steps of composite problems; the total can look at whole problems."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("ID", "question", "option", "answer", "key", "image_path")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask("wemath", settings, question=row["question"], option=row["option"])
        name = f"{row['ID']}/{row['key']}"
        return Sample(name, text, row["answer"].strip(), (row.picture("image_path"),))

    return read_rows(source, COLUMNS, read)
