"""IMO-AnswerBench: short answers to olympiad problems; the judge decides many."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "imo_answerbench",
    """{# Stripped upstream: give the short answer alone. #}
{{ question }}
""",
)

COLUMNS = ("Problem ID", "Problem", "Short Answer", "Category")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask(PROMPT, settings, question=row["Problem"])
        return Sample(f"{row['Category']}/{row['Problem ID']}", text, str(row["Short Answer"]))

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "IMO-AB",
    "LLM",
    "OpenEvals/IMO-AnswerBench",
    "train",
    400,
    "math",
    task="imo_answerbench",
    licence="CC BY 4.0",
    totals=("pooled", "mean_of_groups"),
    prompts=(PROMPT,),
    samples=samples,
)
