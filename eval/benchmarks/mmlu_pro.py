"""MMLU-Pro: up to ten options."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mmlu_pro",
    """{# Stripped upstream: think step by step, then finish with "the answer is (X)" #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",
)

COLUMNS = ("question_id", "question", "options", "answer", "category")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["options"])
        text = ask(PROMPT, settings, question=row["question"], options=options)
        name = f"{row['category']}/{row['question_id']}"
        return Sample(name, text, row["answer"].strip(), options=options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MMLU-Pro",
    "LLM",
    "TIGER-Lab/MMLU-Pro",
    "test",
    12032,
    "choice",
    task="mmlu_pro",
    licence="MIT",
    totals=("pooled", "mean_of_groups"),
    revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
    prompts=(PROMPT,),
    samples=samples,
)
