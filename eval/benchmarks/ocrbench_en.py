"""OCRBench v2, the English types."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.scoring.ocrbench import CATEGORIES
from eval.settings import Settings

COLUMNS = ("id", "question", "type", "answers", "eval", "bbox", "bbox_list", "content", "image")


def samples(source: Source, settings: Settings, language: str = "en") -> Iterator[Sample]:
    def read(row: Row) -> list[Sample]:
        kind = str(row["type"])
        # the official script leaves rows with this mark out; the published rows carry none
        if not kind.endswith(language) or str(row.get("ignore")) == "True":
            return []
        answers = [str(a) for a in row["answers"]]
        extra = {k: row[k] for k in ("type", "eval", "bbox", "bbox_list", "content", "question")}
        text = ask("ocrbench", settings, question=row["question"].strip())
        name = f"{CATEGORIES[kind]}/{row['id']}"
        gold, *others = answers or [""]
        return [Sample(name, text, gold, (row.picture(),), golds=tuple(others), extra=extra)]

    return read_rows(source, COLUMNS, read)
