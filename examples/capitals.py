"""A benchmark of one's own: capitals, from a table with the columns country and capital.

    python flows/eval_flow.py run --model nano:student \\
        --suite examples/capitals.py:BENCHMARK --source FOLDER     # FOLDER/capitals/test.jsonl

`python -m eval.lm_eval_task --out tasks --suite examples/capitals.py:BENCHMARK` makes it a task of
lm-eval.
"""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template("capitals", "What is the capital of {{ country }}?")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    """A question a row."""

    def read(row: Row) -> Sample:
        text = ask(PROMPT, settings, country=row["country"])
        return Sample(str(row.index), text, row["capital"])

    return read_rows(source, ("country", "capital"), read)


def names_it(sample: Sample, answer: str) -> float:
    """1.0 if the answer names the capital, in whatever letters."""
    return float(sample.gold.casefold() in answer.casefold())


BENCHMARK = Benchmark(
    "Capitals",
    "LLM",
    "capitals",
    "test",
    3,
    f"{__name__}:names_it",
    kind="rule",
    task="capitals",
    licence="CC0",
    prompts=(PROMPT,),
    samples=samples,
)
