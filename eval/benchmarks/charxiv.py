"""CharXiv: four descriptive questions and one reasoning question on each chart."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = (
    "image",
    "subplot_row",
    "subplot_col",
    "subplot_loc",
    "reasoning_q",
    "reasoning_a",
    "reasoning_a_type",
    *(f"descriptive_{part}{i}" for part in "qa" for i in range(1, 5)),
)

LEGEND = 13  # the template that asks for the labels of the legend


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> list[Sample]:
        asked = [_descriptive(row, i, settings) for i in range(1, 5)]
        return [*asked, _reasoning(row, settings)]

    return read_rows(source, COLUMNS, read)


def prefix(row: Row) -> str:
    """Which plot of the figure a descriptive question is about."""
    if isinstance(row["subplot_loc"], str) and row["subplot_loc"]:
        return f"For {row['subplot_loc']}, "
    if int(row["subplot_row"]) == 0:
        return "For the current plot, "
    return f"For the subplot at row {row['subplot_row']} and column {row['subplot_col']}, "


def _descriptive(row: Row, i: int, settings: Settings) -> Sample:
    number = int(row[f"descriptive_q{i}"])
    if not 1 <= number <= 19:
        raise ValueError(f"no descriptive question {number}")
    text = ask("charxiv", settings, number=number, prefix=prefix(row))
    bare = ask("charxiv", settings, number=number, prefix="").partition("?")[0]
    # the one rule that the judge has to know, for it marks the order
    order = ", from top to bottom, then left to right" if number == LEGEND else ""
    extra = {"number": number, "question": f"{bare}{order}?"}
    return Sample(
        f"descriptive/{row.index}-{i}",
        text,
        str(row[f"descriptive_a{i}"]),
        (row.picture(),),
        extra=extra,
        judge="charxiv_descriptive",
    )


def _reasoning(row: Row, settings: Settings) -> Sample:
    kind, gold = int(row["reasoning_a_type"]), str(row["reasoning_a"])
    decimals = len(gold.partition(".")[2].strip())
    text = ask(
        "charxiv_reasoning",
        settings,
        question=row["reasoning_q"],
        answer_type=kind,
        decimals=decimals,
    )
    extra = {"answer_type": kind, "question": row["reasoning_q"]}
    return Sample(f"reasoning/{row.index}", text, gold, (row.picture(),), extra=extra)
