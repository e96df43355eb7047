"""MMLU: 57 subjects, four choices."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mmlu",
    """{# Stripped upstream: the subject line and "Answer:" of the few-shot form #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",
)

COLUMNS = ("question", "subject", "choices", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["choices"])
        text = ask(PROMPT, settings, question=row["question"], options=options)
        name = f"{row['subject']}/{row.index}"
        return Sample(name, text, letter(row["answer"]), options=options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MMLU",
    "LLM",
    "cais/mmlu",
    "test",
    14042,
    "choice",
    task="mmlu",
    configs=("all",),
    licence="MIT",
    totals=("pooled", "mean_of_groups"),
    revision="c30699e8356da336a370243923dbaf21066bb9fe",
    prompts=(PROMPT,),
    samples=samples,
)
