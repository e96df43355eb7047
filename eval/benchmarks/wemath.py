"""We-Math: steps of composite problems; the total can look at whole problems."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "wemath",
    """{# Stripped upstream: regard the answer as one of the letters; reasoning tags. #}
{{ question }}
{{ option }}
""",
)

COLUMNS = ("ID", "question", "option", "answer", "key", "image_path")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask(PROMPT, settings, question=row["question"], option=row["option"])
        name = f"{row['ID']}/{row['key']}"
        return Sample(name, text, row["answer"].strip(), (row.picture("image_path"),))

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "WeMath",
    "VLM",
    "We-Math/We-Math",
    "testmini",
    1740,
    "choice",
    task="wemath",
    cluster="ID",
    licence="CC BY-NC 4.0",
    totals=("pooled", "wemath_loose", "wemath_strict"),
    whole=4,
    headline=("wemath_strict", "wemath_loose"),
    revision="527c44d4d94c4e3c7c98157460146a8b18c8420a",
    prompts=(PROMPT,),
    samples=samples,
)
