"""BabyVision: choices (gold is an index) and blanks (gold is a text)."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "babyvision",
    """{# Stripped upstream: put the answer in a box, after thinking. #}
{% from "options" import bracketed %}
{{ question }}
{% if options %}
Choices:
{{ bracketed(options) }}
{% endif %}
""",
)

COLUMNS = ("taskId", "type", "ansType", "question", "options", "choiceAns", "blankAns", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        choice = row["ansType"] == "choice"
        options = tuple(row["options"]) if choice else ()
        text = ask(PROMPT, settings, question=row["question"], options=options)
        gold = letter(row["choiceAns"]) if choice else str(row["blankAns"])
        name = f"{row['type']}/{row['taskId']}"
        rule = "choice" if choice else "text"
        return Sample(name, text, gold, (row.picture(),), options, rule=rule)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "BabyV",
    "VLM",
    "UnipatAI/BabyVision",
    "train",
    388,
    "text",
    task="babyvision",
    cluster="image",
    licence="MIT",
    totals=("pooled", "mean_of_groups"),
    revision="849cbeea2b1d00ad334e9e1e2b49a1960c9ff3f3",
    prompts=(PROMPT,),
    samples=samples,
)
