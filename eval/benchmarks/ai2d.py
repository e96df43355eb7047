"""AI2D: diagrams with letters for labels; the gold answer is an option's index."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "ai2d",
    """{# Stripped upstream: answer with the option's letter directly #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",
)

COLUMNS = ("question", "options", "answer", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(row["options"])
        text = ask(PROMPT, settings, question=row["question"], options=options)
        gold = letter(row["answer"])
        return Sample(str(row.index), text, gold, (row.picture(),), options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "AI2D",
    "VLM",
    "lmms-lab-encoder/ai2d",
    "test",
    3088,
    "choice",
    task="ai2d",
    cluster="image",
    licence="unstated; for research",
    revision="c83a9b9692933aff8349157c88a413df9d02c4e5",
    formerly=("lmms-lab/ai2d",),
    prompts=(PROMPT,),
    samples=samples,
)
