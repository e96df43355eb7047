"""A model's stored scores: how it was evaluated, and which total of its samples each score is."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from eval import suite as suites
from eval.benchmark import Benchmark
from eval.report.rows import Evaluated, Stored, records, typed
from eval.report.summary import find_run
from eval.scoring import totals
from eval.scoring.clusters import Stratum
from eval.scoring.totals import Scored
from zppo_core.errors import UserError

# of a model: how it was evaluated, with most benchmarks first
OUTSIDE = """
SELECT model_key, suite, protocol_key, count(*) AS benchmarks FROM eval_scores
WHERE run_key IS NULL AND role = ? GROUP BY ALL ORDER BY benchmarks DESC, max(source_id) DESC
"""
OF_RUN = """
SELECT model_key, suite, protocol_key, count(*) AS benchmarks FROM run_scores
WHERE run_key = ? AND role = 'student' GROUP BY ALL
"""


def evaluated(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[str, list[Evaluated]]:
    """(full name, evaluations) of a model that eval_flow.py scored, else of a run's student."""
    outside = typed(Evaluated, records(connection, OUTSIDE, [name]))
    if outside:
        if len({r["model_key"] for r in outside}) > 1:
            raise UserError(f"several models were evaluated as {name!r}; give each its own --name")
        return name, outside
    key = find_run(connection, name)["run_key"]
    evaluated = typed(Evaluated, records(connection, OF_RUN, [key]))
    if not evaluated:
        raise UserError(f"{key} was not evaluated")
    return key, evaluated


def stored_scores(
    connection: duckdb.DuckDBPyConnection, suite: str, protocol: str
) -> dict[tuple[str, str, str], float | None]:
    """(model, family, benchmark) -> stored score [fraction]."""
    rows = records(
        connection,
        "SELECT model_key, family, benchmark, score FROM model_scores "
        "WHERE suite = ? AND protocol_key = ?",
        [suite, protocol],
    )
    return {(r["model_key"], r["family"], r["benchmark"]): r["score"] for r in typed(Stored, rows)}


def record_of(suite: str, benchmark: str) -> Benchmark:
    """The benchmark's record; of one that only an older code knew, a mean over samples."""
    try:
        return suites.find(suite, benchmark)
    except UserError:
        return Benchmark(benchmark, "", benchmark, "", 0, "")


def total_of(names: Sequence[str], sides: Sequence[tuple[float | None, Scored]]) -> str | None:
    """The total that gives every stored score of its samples; the protocol's key alone names it.

    The first where several do; None if none does.
    """
    if len(names) == 1:
        return names[0]
    for name in names:
        units = [(totals.units_of(name, scored, totals.NONE), score) for score, scored in sides]
        if all(u and s is not None and abs(mean_of(u) - s) < 1e-9 for u, s in units):
            return name
    return None


def mean_of(units: Sequence[Stratum]) -> float:
    """The weighted mean of the strata's means."""
    return float(sum(s.weight * s.values.mean() for s in units))
