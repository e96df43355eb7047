"""MMMU-Pro: four options, ten options, and question and options in the picture alone."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, attach_marked, literal_list, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mmmu_pro",
    """{# Stripped upstream: answer with the letter directly, or step by step with "Answer: $LETTER". #}
{% from "options" import dotted %}
{% if question %}
{{ question }}
{{ dotted(options) }}
{% else %}
The question and its options are in the picture.
{% endif %}
""",  # noqa: E501
)

COLUMNS = ("id", "options", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        name, options = f"{row.config}/{row['id']}", literal_list(row["options"])
        if row.config == "vision":
            text = ask(PROMPT, settings, question="", options=())
            return Sample(name, text, row["answer"], (row.picture(),), tuple(options))
        (question, *shown), pictures = attach_marked(row, [row["question"], *options])
        text = ask(PROMPT, settings, question=question, options=shown)
        return Sample(name, text, row["answer"], pictures, tuple(shown))

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MMMUPro",
    "VLM",
    "MMMU/MMMU_Pro",
    "test",
    5190,
    "choice",
    task="mmmu_pro",
    cluster="id",
    configs=("standard (4 options)", "standard (10 options)", "vision"),
    licence="Apache-2.0",
    totals=(
        "mean_of_groups",
        "official",
        "only:vision",
        "only:standard (4 options)",
        "only:standard (10 options)",
    ),
    headline=("official",),
    revision="563f3e84bb3b90893083a1f039cfa13077f2302b",
    prompts=(PROMPT,),
    samples=samples,
)
