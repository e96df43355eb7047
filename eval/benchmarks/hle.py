"""Humanity's Last Exam: exact answers and choices, some with a picture; its own judge."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from eval.archives import UnreadableError
from eval.benchmark import Benchmark, Picture, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source, checked
from eval.settings import Settings

PROMPT = Template(
    "hle",
    """{# Stripped upstream: system prompt: Explanation, Answer, Confidence. #}
{{ question }}
""",
)

COLUMNS = ("id", "question", "image", "answer", "answer_type")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        text = ask(PROMPT, settings, question=row["question"])
        pictures = (_picture(row["image"], row["id"]),) if row["image"] else ()
        extra = {"question": row["question"]}
        return Sample(str(row["id"]), text, str(row["answer"]), pictures, extra=extra)

    return read_rows(source, COLUMNS, read)


def _picture(uri: str, name: str) -> Picture:
    def read() -> tuple[bytes, ...]:
        try:
            data = base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise UnreadableError(f"broken picture of {name}: {error}") from None
        return (checked(data, f"row {name}"),)

    return read


BENCHMARK = Benchmark(
    "HLE",
    "LLM",
    "cais/hle",
    "test",
    2500,
    "hle",
    task="hle",
    licence="MIT",
    gated=True,
    kind="judge",
    revision="5a81a4c7271a2a2a312b9a690f0c2fde837e4c29",
    prompts=(PROMPT,),
    samples=samples,
)
