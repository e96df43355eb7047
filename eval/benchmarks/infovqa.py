"""InfographicVQA: short answers read off an infographic, scored by ANLS."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "infovqa",
    """{# Stripped upstream: answer with a single word or phrase. #}
{{ question }}
""",
)

COLUMNS = ("questionId", "question", "answers", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        first, *others = (str(a) for a in row["answers"])
        text = ask(PROMPT, settings, question=row["question"])
        name = str(row["questionId"])
        return Sample(name, text, first, (row.picture(),), golds=tuple(others))

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "InfoVQA",
    "VLM",
    "lmms-lab-encoder/DocVQA",
    "validation",
    2801,
    "anls",
    task="infovqa",
    cluster="image",
    configs=("InfographicVQA",),
    licence="Apache-2.0",
    kind="rule",
    revision="539088ef8a8ada01ac8e2e6d4e372586748a265e",
    formerly=("lmms-lab/DocVQA",),
    prompts=(PROMPT,),
    samples=samples,
)
