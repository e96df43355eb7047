"""What the tasks share: letters, marked pictures, and rows that cannot be used."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from eval.archives import UnreadableError
from eval.benchmark import Picture, Sample
from eval.prompting import Template, render
from eval.rows import Row, Source
from eval.settings import Settings

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARK = re.compile(r"<image\s*([0-9]+)>")


def letter(index: Any) -> str:
    """ "A" for 0, "B" for 1 (also of "0"); ValueError beyond Z or below A."""
    number = int(index)
    if not 0 <= number < len(LETTERS):
        raise ValueError(f"no option number {number}")
    return LETTERS[number]


def ask(template: Template, settings: Settings, **values: object) -> str:
    """The question text by its template."""
    return render(template, settings.prompts, **values)


def read_rows(
    source: Source,
    columns: Sequence[str],
    read: Callable[[Row], Sample | list[Sample]],
    split: str = "",
) -> Iterator[Sample]:
    """The samples that `read` makes of each row, in the cluster that the record's column names.

    A row that it cannot take becomes a sample that is unreadable when asked, so that it is counted
    and named and the others go on.
    """
    for row in source.rows(columns, split):
        try:
            samples = read(row)
            shared = row.name_in(source.benchmark.cluster) if source.benchmark.cluster else None
        except (ValueError, KeyError, IndexError, TypeError, SyntaxError) as error:
            name = row.get("id", row.index)
            yield unusable(f"{row.config or row.split}/{name}", f"unusable row: {error!r}")
            continue
        for sample in samples if isinstance(samples, list) else [samples]:
            yield replace(sample, cluster=sample.cluster or shared)


def unusable(sample_id: str, why: str) -> Sample:
    """A sample that raises UnreadableError when it is asked."""

    def read() -> tuple[bytes, ...]:
        raise UnreadableError(f"{sample_id}: {why}")

    return Sample(sample_id, "", "", (read,))


def literal_list(text: str) -> list[str]:
    """The list that `text` spells out as a Python literal; SyntaxError or ValueError if none."""
    if len(text) > 100_000:
        raise ValueError("list too long")
    value = ast.literal_eval(text)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"not a list: {text[:60]!r}")
    return [str(entry) for entry in value]


def attach_marked(row: Row, texts: Sequence[str]) -> tuple[list[str], tuple[Picture, ...]]:
    """The texts with "<image 3>" as "(image 1)", and the pictures so numbered, in that order.

    Pictures stand before the text in our prompts, so a mark becomes a reference.
    """
    order: dict[str, int] = {}
    for text in texts:
        for mark in _MARK.findall(text):
            order.setdefault(mark, len(order) + 1)
    renamed = [_MARK.sub(lambda m: f"(image {order[m.group(1)]})", text) for text in texts]
    return renamed, tuple(row.picture(f"image_{mark}") for mark in order)


def without_letter(option: str, index: int) -> str:
    """An option without a leading "A." or "(A)" of its own."""
    return re.sub(rf"^\s*\(?{LETTERS[index]}\s*[.):]\s*", "", option, count=1).strip()
