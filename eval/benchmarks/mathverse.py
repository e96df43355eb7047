"""MathVerse: 788 problems, each in five versions that move the text into the picture."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mathverse",
    """{# Stripped upstream: think first, or answer with the letter directly (query_cot, query_wo). #}
{{ question or "The question is in the picture." }}
""",  # noqa: E501
)

COLUMNS = (
    "sample_index",
    "problem_index",
    "problem_version",
    "question",
    "question_for_eval",
    "question_type",
    "answer",
    "image",
)


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask(PROMPT, settings, question=(row["question"] or "").strip())
        name = f"{row['problem_version']}/{row['sample_index']}"
        rule = "choice" if row["question_type"] == "multi-choice" else "math"
        extra = {"question": row["question_for_eval"] or text}
        return Sample(
            name, text, str(row["answer"]).strip(), (row.picture(),), extra=extra, rule=rule
        )

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MVerse",
    "VLM",
    "CaraJ/MathVerse-lmmseval",
    "testmini",
    3940,
    "math",
    task="mathverse",
    cluster="problem_index",
    configs=("testmini",),
    licence="unstated (MIT upstream)",
    totals=(
        "pooled",
        "mean_of_groups",
        "only:Vision Only",
        "only:Vision Dominant",
        "only:Vision Intensive",
        "only:Text Lite",
        "only:Text Dominant",
    ),
    prompts=(PROMPT,),
    samples=samples,
)
