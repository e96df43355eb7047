"""MM-Vet: open questions; the gold answer joins elements by <AND> and <OR>."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mmvet",
    """{# Stripped upstream: nothing. #}
{{ question }}
""",
)

COLUMNS = ("question_id", "question", "answer", "image")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask(PROMPT, settings, question=row["question"])
        extra = {"question": row["question"]}
        gold, pictures = str(row["answer"]), (row.picture(),)
        return Sample(str(row["question_id"]), text, gold, pictures, extra=extra)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MM-Vet",
    "VLM",
    "lmms-lab-encoder/MMVet",
    "test",
    218,
    "mmvet",
    task="mmvet",
    cluster="image",
    licence="unstated",
    kind="judge",
    totals=("half_or_more", "pooled"),
    headline=("pooled",),
    revision="b310d12d0d9e765db953da28a7ef7ff43620dc83",
    formerly=("lmms-lab/MMVet",),
    prompts=(PROMPT,),
    samples=samples,
)
