"""MMLU-Redux 2.0: MMLU with its faults marked; the faulty gold answers are repaired."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import LETTERS, ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mmlu_redux",
    """{# Stripped upstream: the subject line and "Answer:" #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",
)

_BETWEEN = re.compile(
    r"[\s,;&]+|\b(?:and|or|both|options?|answers?|choices?|is|are|correct|the)\b", re.IGNORECASE
)
_BOTH = re.compile(r"\(?([A-Z])[.):]\s*(.+)", re.DOTALL)
COLUMNS = ("question", "choices", "answer", "error_type", "correct_answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options: tuple[str, ...] = tuple(row["choices"])
        golds: tuple[str, ...] = (letter(row["answer"]),)
        if settings.mmlu_redux == "repaired":
            options, golds = repaired(row)
        text = ask(PROMPT, settings, question=row["question"], options=options)
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
    """The letters that a correction names: by indices or letters alone, else by an option's text.

    In this order: options are often numbers themselves, and "2" is then the index 2. Empty if the
    correction is neither.
    """
    both = _BOTH.fullmatch(correction)
    if both and both.group(2) in options[_place(both.group(1)) :][:1]:
        return (both.group(1),)
    parts = [p for p in (part.strip("().: ") for part in _BETWEEN.split(correction)) if p]
    places = [_place(part) for part in parts]
    if places and all(0 <= place < len(options) for place in places):
        return tuple(dict.fromkeys(letter(place) for place in places))
    if correction in options:
        return (letter(options.index(correction)),)
    return ()


def _place(part: str) -> int:
    """The index that a digit or a single letter stands for; -1 if it is neither."""
    if len(part) != 1 or not part.isascii():
        return -1
    return int(part) if part.isdecimal() else LETTERS.find(part.upper())


BENCHMARK = Benchmark(
    "MMLU-Rd",
    "LLM",
    "edinburgh-dawg/mmlu-redux-2.0",
    "test",
    5700,
    "choice",
    task="mmlu_redux",
    configs=("*",),
    licence="CC BY 4.0",
    totals=("pooled", "only:ok"),
    revision="372ea425445d51e1ba1188c56e5e893f8138621f",
    prompts=(PROMPT,),
    samples=samples,
)
