"""EmbSpatial-Bench: spatial relations in indoor scenes, four options."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "embspatial",
    """{# Stripped upstream: answer with the option's letter; upstream letters are written A) #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",
)

COLUMNS = ("question_id", "question", "answer_options", "answer", "relation", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["answer_options"])
        text = ask(PROMPT, settings, question=row["question"], options=options)
        name = f"{row['relation']}/{row['question_id']}"
        return Sample(name, text, letter(row["answer"]), (row.picture(),), options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "EmbSp",
    "VLM",
    "FlagEval/EmbSpatial-Bench",
    "test",
    3640,
    "choice",
    task="embspatial",
    cluster="image",
    licence="CC BY 4.0",
    totals=("pooled", "mean_of_groups"),
    revision="3c0e6b34b632de666a51091727c0128d07a54a6a",
    prompts=(PROMPT,),
    samples=samples,
)
