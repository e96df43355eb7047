"""DynaMath: 501 seed questions in ten variants each, a split a variant."""

from __future__ import annotations

from collections.abc import Iterator

from eval.rows import Row, Source
from eval.settings import Settings
from eval.suite import Sample
from eval.tasks.common import ask, read_rows

COLUMNS = ("id", "question", "decoded_image", "ground_truth", "answer_type")
VARIANTS = 10


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    for variant in range(1, VARIANTS + 1):

        def read(row: Row, variant: int = variant) -> Sample:
            text = ask("dynamath", settings, question=row["question"])
            extra = {"answer_type": row["answer_type"]}
            return Sample(
                f"{row['id']}/{variant}", text, str(row["ground_truth"]),
                (row.picture("decoded_image"),), extra=extra,
            )  # fmt: skip

        yield from read_rows(source, COLUMNS, read, f"sample_variant{variant}")
