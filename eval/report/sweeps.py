"""Runs of a sweep side by side: how far each is, their curves and scores, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import duckdb

from eval.report.rows import records, typed


class MemberRow(TypedDict):
    """How far a run of a sweep is."""

    run_key: str
    steps: int
    hours: float | None


class CurveRow(TypedDict):
    """Accuracy [fraction] on new questions at a step (from 1), mean over the runs of a method."""

    scale: str
    method: str
    step: int
    accuracy: float
    runs: int


class ScoreRow(TypedDict):
    """A method's mean over benchmarks of a family [percent]: mean and deviation over seeds."""

    scale: str
    method: str
    family: str
    score: float | None
    sd: float | None
    runs: int


class Together(TypedDict):
    """What the database holds of a sweep's runs."""

    members: list[MemberRow]
    curves: list[CurveRow]
    scores: list[ScoreRow]


def together(connection: duckdb.DuckDBPyConnection, runs: Sequence[str]) -> Together:
    """The rows of these runs; those that have not begun are in none."""

    def rows(sql: str) -> list[dict[str, object]]:
        return records(connection, sql, [list(runs)])

    return {
        "members": typed(
            MemberRow,
            rows(
                "SELECT r.run_key, count(DISTINCT s.step) AS steps, any_value(c.hours) AS hours "
                "FROM runs r LEFT JOIN steps s USING (run_key) "
                "LEFT JOIN run_cost_totals c USING (run_key) "
                "WHERE list_contains(?, r.run_key) GROUP BY r.run_key ORDER BY r.run_key"
            ),
        ),
        "curves": typed(
            CurveRow,
            rows(
                "SELECT scale, method, step + 1 AS step, avg(accuracy) AS accuracy, "
                "count(*) AS runs FROM step_kinds JOIN runs USING (run_key) "
                "WHERE kind = 'plain' AND list_contains(?, run_key) "
                "GROUP BY scale, method, step ORDER BY scale, method, step"
            ),
        ),
        "scores": typed(
            ScoreRow,
            rows(
                "SELECT scale, method, family, avg(score) AS score, stddev_samp(score) AS sd, "
                "count(score) AS runs FROM method_scores WHERE benchmark = 'Avg' "
                "AND list_contains(?, run_key) GROUP BY ALL ORDER BY scale, method, family"
            ),
        ),
    }
