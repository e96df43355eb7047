"""DynaMath: 501 seed questions in ten variants each, a split a variant."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "dynamath",
    """{# Stripped upstream: answer with three decimals and no unit, or with the letter alone; a JSON form. #}
{{ question }}
""",  # noqa: E501
)

COLUMNS = ("id", "question", "decoded_image", "ground_truth", "answer_type")
VARIANTS = 10


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    splits = {variant: f"sample_variant{variant}" for variant in range(1, VARIANTS + 1)}
    by_id = same_ids([[row["id"] for row in source.rows(("id",), s)] for s in splits.values()])
    for variant, split in splits.items():

        def read(row: Row, variant: int = variant) -> Sample:
            text = ask(PROMPT, settings, question=row["question"])
            extra = {"answer_type": row["answer_type"]}
            seed = row["id"] if by_id else f"row {row.index}"
            return Sample(
                f"{seed}/{variant}",
                text,
                str(row["ground_truth"]),
                (row.picture("decoded_image"),),
                extra=extra,
                cluster=lambda: str(seed),
            )

        yield from read_rows(source, COLUMNS, read, split)


def same_ids(ids_by_variant: list[list[object]]) -> bool:
    """Whether an id names the same seed question in every variant: once in each of them.

    If not, the order of the rows has to say which variants belong together. A variant without rows
    says nothing about that.
    """
    there = [ids for ids in ids_by_variant if ids]
    return all(len(ids) == len(set(ids)) and set(ids) == set(there[0]) for ids in there)


BENCHMARK = Benchmark(
    "DynaM",
    "VLM",
    "DynaMath/DynaMath_Sample",
    "",
    5010,
    "dynamath",
    task="dynamath",
    cluster="id",
    licence="Apache-2.0",
    totals=("worst", "pooled"),
    whole=10,
    headline=("pooled", "worst"),
    prompts=(PROMPT,),
    samples=samples,
)
