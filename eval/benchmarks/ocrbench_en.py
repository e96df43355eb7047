"""OCRBench v2, the English types."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.scoring.ocrbench import CATEGORIES
from eval.settings import Settings

PROMPT = Template(
    "ocrbench",
    """{# Stripped upstream: nothing: the requested structure (JSON keys, HTML, box format) is part of the question. #}
{{ question }}
""",  # noqa: E501
)

COLUMNS = ("id", "question", "type", "answers", "eval", "bbox", "bbox_list", "content", "image")


def samples(source: Source, settings: Settings, language: str = "en") -> Iterator[Sample]:
    def read(row: Row) -> list[Sample]:
        kind = str(row["type"])
        # the official script leaves rows with this mark out; the published rows carry none
        if not kind.endswith(language) or str(row.get("ignore")) == "True":
            return []
        answers = [str(a) for a in row["answers"]]
        extra = {k: row[k] for k in ("type", "eval", "bbox", "bbox_list", "content", "question")}
        text = ask(PROMPT, settings, question=row["question"].strip())
        name = f"{CATEGORIES[kind]}/{row['id']}"
        gold, *others = answers or [""]
        return [Sample(name, text, gold, (row.picture(),), golds=tuple(others), extra=extra)]

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "OCREN",
    "VLM",
    "ling99/OCRBench_v2",
    "test",
    7400,
    "ocrbench",
    task="ocrbench_en",
    cluster="image",
    licence="MIT; for research",
    kind="rule",
    totals=("mean_of_groups", "pooled"),
    revision="c7e7cdf23bdb6774661e9b0caf0d9935a42feb8b",
    prompts=(PROMPT,),
    samples=samples,
)
