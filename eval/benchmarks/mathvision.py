"""MATH-Vision: competition problems with a picture; options or a free answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import LETTERS, ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "mathvision",
    """{# Stripped upstream: box the answer; a letter alone for choices. #}
{% from "options" import bracketed %}
{{ question }}
{{ bracketed(options) }}
""",
)

COLUMNS = ("id", "question", "options", "decoded_image", "answer")
_MARK = re.compile(r"\s*<image\s*[0-9]+>\s*")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(str(o) for o in row["options"] or ())
        # bare letters mean that the choices are drawn in the picture
        shown = () if options == tuple(LETTERS[: len(options)]) else options
        question = _MARK.sub(" ", row["question"]).strip()
        text = ask(PROMPT, settings, question=question, options=shown)
        return Sample(
            str(row["id"]),
            text,
            str(row["answer"]).strip(),
            (row.picture("decoded_image"),),
            shown,
            rule="choice_or_math" if options else "math",
        )

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "MVision",
    "VLM",
    "MathLLMs/MathVision",
    "test",
    3040,
    "math",
    task="mathvision",
    cluster="decoded_image",
    licence="MIT",
    revision="2837ddb3f13abaf6b3997c12d80753e5470bd46a",
    prompts=(PROMPT,),
    samples=samples,
)
