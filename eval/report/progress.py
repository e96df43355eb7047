"""A run so far: the rows of which cards draw their curves, whatever task or resume made them.

Everything is read from views of the result database, which a run in progress feeds step by step.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import duckdb

from eval.report.connection import open_database
from eval.report.rows import records, typed
from zppo_core.errors import UserError

ROLES = ("student", "teacher", "learner")


class StepRow(TypedDict):
    """A row of `run_progress`: one rollout step, counted from 1."""

    step: int
    buffer_size: int
    mismatch_mean: float | None
    mismatch_max: float | None
    groups: int | None
    trivial: int | None
    trivial_share: float | None
    positive_share: float | None
    response_tokens: float | None
    truncated_share: float | None
    no_box_share: float | None
    admitted: int
    graduated: int
    evicted: int
    loss: float | None
    entropy: float | None
    grad_norm: float | None
    clip_low_share: float | None
    clip_high_share: float | None
    dual_clip_share: float | None
    ratio_mean: float | None
    skipped: int | None
    seconds: float | None
    tokens_per_second: float | None


class KindStep(TypedDict):
    """Accuracy [fraction] of one kind of group at one rollout step, counted from 1."""

    step: int
    kind: str
    accuracy: float
    response_tokens: float


class HeldStep(TypedDict):
    """Questions in the buffer at a step, by accuracy at admission [percent]."""

    step: int
    entry: str
    held: float


class PhaseStep(TypedDict):
    """Wall time [s] of a phase of one rollout step."""

    step: int
    phase: str
    seconds: float


class BusyStep(TypedDict):
    """Share of a step's wall time [fraction] in which each role's model works."""

    step: int
    role: str
    busy: float


class Begun(TypedDict):
    """What a run is, of `runs`."""

    run_key: str
    created_at: object
    scale: str
    method: str
    seed: int
    machine: str
    code_version: str
    student_model: str
    teacher_model: str | None
    student_params: int


class Progress(TypedDict):
    """All steps that the database holds of a run."""

    run: Begun | None
    steps: list[StepRow]
    kinds: list[KindStep]
    held: list[HeldStep]
    phases: list[PhaseStep]
    busy: list[BusyStep]


def progress(connection: duckdb.DuckDBPyConnection, run_key: str) -> Progress:
    """The run's rows of every view that a card draws, in order of steps; empty where none is."""

    def rows(sql: str) -> list[dict[str, object]]:
        return records(connection, sql, [run_key])

    begun = typed(Begun, rows("SELECT * FROM runs WHERE run_key = ?"))
    return {
        "run": begun[0] if begun else None,
        "steps": typed(StepRow, rows("SELECT * FROM run_progress WHERE run_key = ? ORDER BY step")),
        "kinds": typed(
            KindStep,
            rows(
                "SELECT step + 1 AS step, kind, accuracy, tokens / rollouts AS response_tokens "
                "FROM step_kinds WHERE run_key = ? ORDER BY step, kind"
            ),
        ),
        "held": typed(
            HeldStep,
            rows(
                "SELECT step + 1 AS step, format('{:g} %', entry_bin) AS entry, held "
                "FROM graduation_steps WHERE run_key = ? ORDER BY entry_bin, step"
            ),
        ),
        "phases": typed(
            PhaseStep,
            rows(
                "SELECT step + 1 AS step, phase, seconds FROM phases "
                "WHERE run_key = ? AND step >= 0 ORDER BY step, phase"
            ),
        ),
        "busy": typed(
            BusyStep,
            rows(
                "UNPIVOT (SELECT step + 1 AS step, "
                + ", ".join(f"sum({r}_seconds) / sum(seconds) AS {r}" for r in ROLES)
                + " FROM phases WHERE run_key = ? AND step >= 0 GROUP BY step) "
                "ON student, teacher, learner INTO NAME role VALUE busy ORDER BY step"
            ),
        ),
    }


def progress_of(database: str | Path, run_key: str, wait: float = 0.0) -> Progress:
    """`progress` of a database file; UserError if it is in use by another process."""
    with open_database(database, wait=wait) as connection:
        return progress(connection, run_key)


def time_left(read: Progress, total: int, recent: int = 8) -> float | None:
    """Seconds [s] until step `total`, at the pace of the last steps; None before the first."""
    spent = [row["seconds"] for row in read["steps"] if row["seconds"]]
    if not spent:
        return None
    pace = spent[-recent:]
    return max(0, total - len(read["steps"])) * sum(pace) / len(pace)


def begun_of(read: Progress) -> Begun:
    """The run's own row; UserError if its journal has not been taken in."""
    if read["run"] is None:
        raise UserError("the database holds no run of this key yet: it is taken in after a step")
    return read["run"]
