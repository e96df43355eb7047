"""MathVista testmini: choices by their text, whole numbers, decimals and lists."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mathvista",
    """{# Stripped upstream: the hint about the letter and the place of the answer. Kept, for it changes
   the answer: unit, whole number, number of decimals, list. #}
{% from "options" import bracketed %}
{{ question }}{% if unit %} (Unit: {{ unit }}){% endif %}

{% if answer_type == "integer" and not options %}
The answer is a whole number.
{% elif answer_type == "float" and not options %}
The answer is a number with {{ precision }} decimal place{{ "" if precision == 1 else "s" }}.
{% elif answer_type == "list" and not options %}
The answer is a list, like [1, 2, 3] or [1.2, 1.3, 1.4].
{% endif %}
{% if options %}
Choices:
{{ bracketed(options) }}
{% endif %}
""",  # noqa: E501
)

COLUMNS = (
    "pid",
    "question",
    "choices",
    "unit",
    "precision",
    "answer",
    "question_type",
    "answer_type",
    "decoded_image",
)


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["choices"] or ()) if row["question_type"] == "multi_choice" else ()
        precision = None if row["precision"] is None else int(row["precision"])
        text = ask(
            PROMPT,
            settings,
            question=row["question"],
            unit=row["unit"],
            answer_type=row["answer_type"],
            precision=precision or 0,
            options=options,
        )
        extra = {"answer_type": row["answer_type"], "precision": precision}
        pictures = (row.picture("decoded_image"),)
        return Sample(str(row["pid"]), text, str(row["answer"]), pictures, options, extra=extra)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MVista",
    "VLM",
    "AI4Math/MathVista",
    "testmini",
    1000,
    "mathvista",
    task="mathvista",
    cluster="decoded_image",
    licence="CC BY-SA 4.0",
    revision="2b6ad69445fbb5695c9b165475e8decdbeb97747",
    prompts=(PROMPT,),
    samples=samples,
)
