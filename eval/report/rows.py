"""Rows of the result database: read as dictionaries, given a type where it is relied upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from inspect import get_annotations
from typing import TypedDict, TypeVar, cast

import duckdb

T = TypeVar("T", bound=Mapping[str, object])


def records(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> list[dict[str, object]]:
    """All rows of a query as dicts."""
    cursor = connection.execute(sql, list(parameters))
    names = [d[0] for d in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def typed(kind: type[T], rows: Sequence[Mapping[str, object]]) -> list[T]:
    """`rows` as those of `kind`, a TypedDict; TypeError names a column that they do not have.

    The types of its columns are what `schema.sql` and the query say.
    """
    if rows and (missing := sorted(get_annotations(kind).keys() - rows[0].keys())):
        raise TypeError(f"a query for {kind.__name__} gives no column {missing[0]!r}")
    return cast("list[T]", rows)


class Key(TypedDict):
    run_key: str


class RunRow(TypedDict):
    """What is read of `runs`."""

    run_key: str
    scale: str
    method: str
    seed: int
    machine: str
    code_version: str
    student_params: int
    created_at: datetime


class Setting(TypedDict):
    """What is read of `run_settings`; `recipe` tells whether it is the paper's."""

    run_key: str
    scale: str
    method: str
    variant: str
    recipe: bool


class Score(TypedDict):
    """A method's score [percent] on a benchmark: mean and deviation over runs."""

    scale: str
    family: str
    method: str
    benchmark: str
    score: float | None
    sd: float | None
    runs: int
    complete: bool


class FamilyRow(TypedDict):
    """A run's accuracy in a family of benchmarks, percent."""

    family: str
    benchmarks: int
    base: float | None
    student: float | None
    teacher: float | None
    gain: float | None
    n: int | None
    scored: int | None
    unparsed: int | None
    complete: bool | None


class BenchmarkRow(TypedDict):
    """A run's score on a benchmark with its 95 % interval, percent."""

    family: str
    benchmark: str
    base: float | None
    base_low: float | None
    base_high: float | None
    student: float | None
    student_low: float | None
    student_high: float | None
    teacher: float | None
    teacher_low: float | None
    teacher_high: float | None
    gain: float | None
    n: int | None
    expected_n: int | None
    missing_reason: str | None


class GraduationRow(TypedDict):
    """What became of the questions that entered the buffer at one accuracy, percent."""

    entry_accuracy: float
    admitted: int
    revisited: int
    graduated: int
    evicted: int
    held: int
    share: float


class TimeRow(TypedDict):
    """Wall time of a stage or phase, seconds; `share` in percent of its level."""

    level: str
    phase: str
    times: int
    seconds: float
    model_seconds: float | None
    student_seconds: float | None
    teacher_seconds: float | None
    learner_seconds: float | None
    sync_seconds: float | None
    sync_bytes: int | None
    share: float


class CostRow(TypedDict):
    """Tokens and FLOPs of one role's activity."""

    role: str
    activity: str
    model_params: int
    tokens: int
    tokens_cap: int
    flops_true: float
    flops_paper: float


class StepsRow(TypedDict):
    steps: int
    buffer_size: int | None


class Described(StepsRow):
    """Which run a summary is of."""

    run_key: str
    scale: str
    method: str
    seed: int
    machine: str
    code_version: str
    student_params: int
    created_at: str


class Summary(TypedDict):
    """A run's results as JSON-ready data; accuracies in percent, times in seconds."""

    run: Described
    accuracy: list[FamilyRow]
    benchmarks: list[BenchmarkRow]
    graduation: list[GraduationRow]
    times: list[TimeRow]
    cost: list[CostRow]


class Evaluated(TypedDict):
    """How a model was evaluated."""

    model_key: str
    suite: str
    protocol_key: str
    benchmarks: int


class Pair(TypedDict):
    """A sample's scores by two models."""

    family: str
    benchmark: str
    id: str
    a: float | None
    b: float | None
    cluster: str | None


class Sample(TypedDict):
    benchmark: str
    id: str
    score: float
    cluster: str | None


class Stored(TypedDict):
    model_key: str
    family: str
    benchmark: str
    score: float | None


class Place(TypedDict):
    """A line of the leaderboard; scores in percent."""

    benchmark: str
    model: str
    place: int
    score: float | None
    low: float | None
    high: float | None
    n: int
    expected_n: int
    unparsed: int
    missing_reason: str | None


class GraduatedShare(TypedDict):
    """The share [percent] of a run's admitted questions that graduated."""

    method: str
    seed: int
    value: float


class Measured(GraduatedShare):
    """A run's accuracy [percent] in a family or on a benchmark."""

    quantity: str


class Graduation(TypedDict):
    """Questions admitted, asked again and graduated, of all seeds."""

    method: str
    entry_bin: float
    a: int
    r: int
    g: int


class TeacherTokens(TypedDict):
    """Tokens of teacher draws, each run by itself and with the draws shared."""

    alone: int
    shared: int
    all_alone: int
    all_shared: int


class Match(TypedDict):
    """What a kind's rollouts answer, percent."""

    kind: str
    subset: str
    n: int
    match_pos: float | None
    match_neg: float | None
    other: float | None
    accuracy: float | None


class Lost(TypedDict):
    """A candidate that does not say what its source says."""

    step: int
    question_id: str
    draw: int
    fallback: bool
    source_answer: str | None
    answer: str | None


class Compression(TypedDict):
    """What compression preserved, as counts and shares; without `candidates` there are none."""

    candidates: int
    summarised: float
    audited: int
    kept_answer: float
    kept_boxed: float | None
    boxed: int
    length_share: float
    retried: float
    characters: float
    lost: list[Lost]


class Costs(TypedDict):
    """Hours, FLOPs and tokens of a method's runs, on average, of what they used."""

    scale: str
    method: str
    hours: float | None
    flops_paper: float | None
    flops_used: float | None
    tokens_used: float | None


class Audited(TypedDict):
    """What a kind's rollouts answer: how many, and shares in percent."""

    scale: str
    subset: str
    n: int
    match_pos: float
    match_neg: float
    other: float
    accuracy: float
