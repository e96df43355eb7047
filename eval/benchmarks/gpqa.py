"""GPQA-Diamond: four answers in an order that a row's own seed decides, for every model alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings
from zppo_core.streams import stream

PROMPT = Template(
    "gpqa",
    """{# Stripped upstream: "What is the correct answer to this question", format of the answer line #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",  # noqa: E501
)

WRONG = tuple(f"Incorrect Answer {i}" for i in (1, 2, 3))
COLUMNS = ("Question", "Correct Answer", *WRONG)


def tidy(text: str) -> str:
    """`text` stripped, with single spaces, and " [title]" as a full stop (as lm-eval reads it)."""
    return re.sub(r" {2,}", " ", text.replace(" [title]", ". ")).strip()


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        answers = [tidy(row[c]) for c in ("Correct Answer", *WRONG)]
        order = stream(0, "gpqa options", row["Question"]).permutation(4).tolist()
        options = tuple(answers[i] for i in order)
        text = ask(PROMPT, settings, question=tidy(row["Question"]), options=options)
        return Sample(str(row.index), text, letter(order.index(0)), options=options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "GPQA-D",
    "LLM",
    "Idavidrein/gpqa",
    "train",
    198,
    "choice",
    task="gpqa",
    configs=("gpqa_diamond",),
    licence="CC BY 4.0",
    gated=True,
    revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
    prompts=(PROMPT,),
    samples=samples,
)
