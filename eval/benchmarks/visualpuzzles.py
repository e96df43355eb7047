"""VisualPuzzles: logic puzzles; the choices stand in the text or in the picture."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "visualpuzzles",
    """{# Stripped upstream: solve step by step; "Answer: $LETTER". #}
{% from "options" import bracketed %}
{{ question }}
{% if options %}
{{ bracketed(options) }}
{% else %}
The choices (A) to (D) are in the picture.
{% endif %}
""",
)

COLUMNS = ("id", "question", "options", "answer", "category", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["options"] or ())
        text = ask(PROMPT, settings, question=row["question"], options=options)
        name = f"{row['category']}/{row['id']}"
        return Sample(name, text, row["answer"].strip(), (row.picture(),), options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "VisP",
    "VLM",
    "neulab/VisualPuzzles",
    "test|train",
    1168,
    "choice",
    task="visualpuzzles",
    cluster="image",
    licence="MIT",
    totals=("pooled", "mean_of_groups"),
    prompts=(PROMPT,),
    samples=samples,
)
