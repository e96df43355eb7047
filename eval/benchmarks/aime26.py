"""AIME 2026: the gold answer is a whole number from 0 to 999."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.aime25 import PROMPT
from eval.benchmarks.common import ask, read_rows
from eval.rows import Row, Source
from eval.settings import Settings

COLUMNS = ("problem_idx", "problem", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        return Sample(
            str(row["problem_idx"]),
            ask(PROMPT, settings, question=row["problem"]),
            str(row["answer"]),
        )

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "AIME26",
    "LLM",
    "MathArena/aime_2026",
    "train",
    30,
    "integer",
    task="aime26",
    licence="CC BY-NC-SA 4.0",
    revision="d2de22f3c656b4f56cf8981212186377d1e23bc3",
    prompts=(PROMPT,),
    samples=samples,
)
