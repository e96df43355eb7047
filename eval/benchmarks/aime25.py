"""AIME 2025: the gold answer is a whole number from 0 to 999."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "aime",
    """{# Stripped upstream: integer between 0 and 999, boxed. #}
{{ question }}
""",
)

COLUMNS = ("question", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        return Sample(
            f"{row.config}/{row.index}",
            ask(PROMPT, settings, question=row["question"]),
            str(row["answer"]),
        )

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "AIME25",
    "LLM",
    "opencompass/AIME2025",
    "test",
    30,
    "integer",
    task="aime25",
    configs=("AIME2025-I", "AIME2025-II"),
    licence="MIT",
    revision="a6ad95f611d72cf628a80b58bd0432ef6638f958",
    prompts=(PROMPT,),
    samples=samples,
)
