"""MMVU: expert questions on videos; choices or short texts; its own judge."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings
from eval.video import clip

PROMPT = Template(
    "mmvu",
    """{# Stripped upstream: think step by step, end with "Therefore, the final answer is ...". #}
The pictures are frames of a video, in order.
{{ question }}
{% for letter, text in choices %}{{ letter }}: {{ text }}
{% endfor %}
""",
)

COLUMNS = ("id", "video", "question_type", "question", "choices", "answer")
MARK = "/main/"  # in the URL of a video: what follows is its path in the data set


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        path = str(row["video"]).strip().rpartition(MARK)[2]
        choices = [(k, v) for k, v in sorted((row["choices"] or {}).items()) if v]
        if row["question_type"] == "open-ended":
            choices = []
        text = ask(PROMPT, settings, question=row["question"], choices=choices)
        extra = {
            "question": row["question"],
            "options": "\n".join(f"{k}: {v}" for k, v in choices),
        }
        return Sample(
            f"{row['question_type']}/{row['id']}",
            text,
            str(row["answer"]).strip(),
            (clip(lambda: source.open(path), settings),),
            tuple(v for _, v in choices),
            extra=extra,
        )

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MMVU",
    "Video",
    "yale-nlp/MMVU",
    "validation",
    1000,
    "mmvu",
    task="mmvu",
    cluster="video",
    licence="unstated",
    kind="judge",
    totals=("pooled", "mean_of_groups"),
    revision="b937f414a87e9012acba49d95669020b24fa9ee9",
    prompts=(PROMPT,),
    samples=samples,
)
