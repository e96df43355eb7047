"""VLMs are Blind: counting and reading simple drawings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "vlmsareblind",
    """{# Stripped upstream: the sentences that ask for curly brackets or a bare word, cut by the task.
   Kept, for it changes the answer: rows first, then columns. #}
{{ question }}
{% if grid %}
Answer with the number of rows, a comma, and the number of columns.
{% endif %}
""",  # noqa: E501
)

COLUMNS = ("task", "prompt", "groundtruth", "image")
GRIDS = "Counting Grid"
# sentences, and ends of sentences, that ask for a shape of the answer
_CLAUSE = re.compile(
    r"[\s,]+(?:and|then)\s+(?:please\s+)?(?:answer|reply|respond|give|provide|write|report|return)\b"
    r"[^.?!]*\bcurly (?:braces|brackets)[^?!\n]*(?:[?!\n]|$)",
    re.IGNORECASE,
)
_SHAPE = re.compile(
    r"[^.?!]*\b(?:curly (?:braces|brackets)|in the format|answer with (?:just )?(?:a|one|the)\b)"
    r"[^?!\n]*(?:[?!\n]|$)",
    re.IGNORECASE,
)


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        task = str(row["task"])
        grid = task.startswith(GRIDS)
        text = ask(PROMPT, settings, question=without_shape(row["prompt"]), grid=grid)
        name = f"{GRIDS if grid else task}/{row.index}"  # the two kinds of grids are one task
        gold, extra = str(row["groundtruth"]), {"task": task}
        return Sample(name, text, gold, (row.picture(),), extra=extra)

    return read_rows(source, COLUMNS, read)


def without_shape(prompt: str) -> str:
    """The prompt without its directives on the shape of the answer; whole if nothing is left.

    Of a sentence that asks and directs, what asks stays: "Count the rows and answer in braces".
    """
    asked, cut = _CLAUSE.subn(". ", prompt)
    return _SHAPE.sub("", asked if cut else prompt).strip() or prompt


BENCHMARK = Benchmark(
    "VBlind",
    "VLM",
    "XAI/vlmsareblind",
    "valid",
    8016,
    "vlmsareblind",
    task="vlmsareblind",
    cluster="image",
    licence="MIT",
    totals=("pooled", "mean_of_groups"),
    headline=("mean_of_groups",),
    prompts=(PROMPT,),
    samples=samples,
)
