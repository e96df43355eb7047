"""C-Eval: Chinese examinations in 52 subjects, a config a subject."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "ceval",
    """{# Stripped upstream: 以下是中国关于…考试的单项选择题, 请选出其中的正确答案; 答案: #}
{% from "options" import dotted %}
{{ question }}
{{ dotted(options) }}
""",
)

COLUMNS = ("id", "question", "A", "B", "C", "D", "answer")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(str(row[letter]) for letter in "ABCD")
        text = ask(PROMPT, settings, question=row["question"], options=options)
        name = f"{row.config}/{row['id']}"
        return Sample(name, text, row["answer"].strip(), options=options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "CEval",
    "LLM",
    "ceval/ceval-exam",
    "val",
    1346,
    "choice",
    task="ceval",
    configs=("*",),
    licence="CC BY-NC-SA 4.0",
    totals=("pooled", "mean_of_groups"),
    revision="617524a00b307ff6f9933702f724131fe12ca7ce",
    prompts=(PROMPT,),
    samples=samples,
)
