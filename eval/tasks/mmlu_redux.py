"""MMLU-Redux 2.0: MMLU with its faults marked; the faulty gold answers are repaired."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eval.rows import Row, Source
from eval.settings import Settings
from eval.suite import Sample
from eval.tasks.common import LETTERS, ask, letter, read_rows

COLUMNS = ("question", "choices", "answer", "error_type", "correct_answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options: tuple[str, ...] = tuple(row["choices"])
        golds: tuple[str, ...] = (letter(row["answer"]),)
        if settings.mmlu_redux == "repaired":
            options, golds = repaired(row)
        text = ask("mmlu_redux", settings, question=row["question"], options=options)
        group = "ok" if row["error_type"] == "ok" else "faulty"
        name = f"{group}/{row.config}/{row.index}"
        return Sample(name, text, golds[0], options=options, golds=golds[1:])

    return read_rows(source, COLUMNS, read)


def repaired(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(options, gold letters) after the row's correction; unclear questions stay as they are."""
    options, marked = [str(c) for c in row["choices"]], int(row["answer"])
    correction = str(row["correct_answer"] or "").strip()
    if row["error_type"] == "no_correct_answer" and correction:
        options[marked] = correction
    elif row["error_type"] in ("wrong_groundtruth", "multiple_correct_answers"):
        letters = corrected_letters(correction, options)
        if letters:
            return tuple(options), letters
    return tuple(options), (letter(marked),)


def corrected_letters(correction: str, options: list[str]) -> tuple[str, ...]:
    """The letters that a correction names, by index, by letter or by an option's text."""
    if correction in options:
        return (letter(options.index(correction)),)
    found = []
    for part in re.findall(r"[A-Za-z0-9]+", correction):
        index = int(part) if part.isdecimal() else LETTERS.find(part.upper())
        if len(part) == 1 and 0 <= index < len(options):
            found.append(letter(index))
    return tuple(dict.fromkeys(found))
