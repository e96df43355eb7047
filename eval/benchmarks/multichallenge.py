"""MultiChallenge: the last turn of a conversation, judged by one criterion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings

PROMPT = Template(
    "multichallenge",
    """{# The last user turn of the conversation; nothing is stripped. #}
{{ question }}
""",
)

COLUMNS = ("question_id", "axis", "conversation", "target_question", "pass_criteria")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        *history, (role, last) = turns(row["conversation"])
        if role != "user":
            raise ValueError(f"the conversation ends with a turn of {role}")
        text = ask(PROMPT, settings, question=last)
        gold = row["pass_criteria"].strip().upper()
        if gold not in ("YES", "NO"):
            raise ValueError(f"pass_criteria {gold!r}")
        # the criterion is for the judge alone: the model never sees it
        extra = {"criterion": row["target_question"]}
        name = f"{row['axis']}/{row['question_id']}"
        return Sample(name, text, gold, extra=extra, history=tuple(history))

    return read_rows(source, COLUMNS, read)


def turns(conversation: Any) -> list[tuple[str, str]]:
    """(role, text) of each message; a list of messages or a mapping of two lists."""
    if isinstance(conversation, Mapping):
        return list(zip(conversation["role"], conversation["content"], strict=True))
    return [(message["role"], message["content"]) for message in conversation]


BENCHMARK = Benchmark(
    "MultiCh",
    "LLM",
    "ScaleAI/MultiChallenge",
    "test",
    266,
    "multichallenge",
    task="multichallenge",
    licence="CC BY 4.0",
    kind="judge",
    totals=("pooled", "mean_of_groups"),
    headline=("mean_of_groups",),
    revision="670fd81f270314d0f8f82b34fcfe2187fd28f699",
    prompts=(PROMPT,),
    samples=samples,
)
