"""What one run learned, on one page: `zppo tables summary [--json] [--run KEY]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from eval.render import MISSING, duration, number, scientific, signed, table
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.rows import (
    BenchmarkRow,
    CostRow,
    FamilyRow,
    GraduationRow,
    RunRow,
    StepsRow,
    Summary,
    TimeRow,
    records,
    typed,
)
from zppo_core.errors import UserError

FAMILIES = ("VLM", "LLM", "Video")  # the paper's order; others follow by name
ROLES = ("student", "teacher", "learner")


def find_run(connection: duckdb.DuckDBPyConnection, run: str | None) -> RunRow:
    """The run `run`, by key or a prefix that fits one alone; the latest if None.

    Raises UserError if there is none, or if the prefix fits several.
    """
    everything = records(connection, "SELECT * FROM runs ORDER BY created_at DESC, run_key")
    rows = typed(RunRow, everything)
    if not rows:
        raise UserError("the database holds no run yet: make run")
    if run is None:
        return rows[0]
    exact = [r for r in rows if r["run_key"] == run]
    matching = exact or [r for r in rows if r["run_key"].startswith(run)]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(sorted(r["run_key"] for r in (matching or rows))[:8])
    raise UserError(
        f"{'several runs fit' if matching else 'no run'} {run!r}; "
        f"{'name one of' if matching else 'there are'}: {names}"
    )


def family_order(family: str) -> tuple[int, str]:
    """Sort key: the paper's order, then by name."""
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def _per_role(columns: dict[str, str]) -> str:
    """SQL that turns the role of a row into columns: base, student, teacher, with suffixes."""
    return ", ".join(
        f"max({column}) FILTER (role = '{role}') AS {role}{suffix}"
        for role in ("base", "student", "teacher")
        for suffix, column in columns.items()
    )


def summary(database: str | Path = DEFAULT_DATABASE, run: str | None = None) -> Summary:
    """The run's results as JSON-ready data; accuracies in percent, times in seconds.

    Keys: run, accuracy (per family: base, student, gain, teacher), benchmarks, graduation (per
    accuracy at admission), times (stages and phases), cost. A score that is missing is None.
    """
    with open_database(database) as connection:
        run_row = find_run(connection, run)
        key = [run_row["run_key"]]
        averages = _per_role({"": "average"})
        accuracy = records(
            connection,
            f"SELECT family, max(benchmarks) AS benchmarks, {averages}, student - base AS gain, "
            "max(n) FILTER (role = 'student') AS n, "
            "max(scored) FILTER (role = 'student') AS scored, "
            "max(unparsed) FILTER (role = 'student') AS unparsed, "
            "bool_and(complete) AS complete FROM run_families WHERE run_key = ? GROUP BY family",
            key,
        )
        scores = _per_role({"": "score", "_low": "low", "_high": "high"})
        benchmarks = records(
            connection,
            f"SELECT family, benchmark, {scores}, student - base AS gain, "
            "max(n) FILTER (role = 'student') AS n, max(expected_n) AS expected_n, "
            "max(missing_reason) FILTER (role = 'student') AS missing_reason "
            "FROM run_scores WHERE run_key = ? GROUP BY family, benchmark ORDER BY benchmark",
            key,
        )
        graduation = records(
            connection,
            "SELECT entry_bin AS entry_accuracy, admitted, revisited, graduated, evicted, held, "
            "100 * graduated / admitted AS share FROM graduation WHERE run_key = ? "
            "ORDER BY entry_bin",
            key,
        )
        times = records(
            connection,
            "SELECT level, phase, times, seconds, model_seconds, student_seconds, "
            "teacher_seconds, learner_seconds, sync_seconds, sync_bytes, "
            "100 * seconds / sum(seconds) OVER (PARTITION BY level) AS share FROM phase_times "
            "WHERE run_key = ? ORDER BY level DESC, seconds DESC",
            key,
        )
        cost = records(
            connection,
            "SELECT role, activity, model_params, tokens, tokens_cap, seconds, flops_true, "
            "flops_paper FROM run_costs WHERE run_key = ? ORDER BY role, activity",
            key,
        )
        steps = records(
            connection,
            "SELECT count(*) AS steps, max(buffer_size) FILTER (step = last) AS buffer_size "
            "FROM (SELECT *, max(step) OVER () AS last FROM steps WHERE run_key = ?)",
            key,
        )
    families = sorted(typed(FamilyRow, accuracy), key=lambda r: family_order(r["family"]))
    (counted,) = typed(StepsRow, steps)
    return {
        "run": {
            "run_key": run_row["run_key"],
            "scale": run_row["scale"],
            "method": run_row["method"],
            "seed": run_row["seed"],
            "machine": run_row["machine"],
            "code_version": run_row["code_version"],
            "student_params": run_row["student_params"],
            "created_at": run_row["created_at"].isoformat(sep=" ", timespec="seconds"),
            "steps": counted["steps"],
            "buffer_size": counted["buffer_size"],
        },
        "accuracy": families,
        "benchmarks": sorted(
            typed(BenchmarkRow, benchmarks),
            key=lambda r: (family_order(r["family"]), r["benchmark"]),
        ),
        "graduation": typed(GraduationRow, graduation),
        "times": typed(TimeRow, times),
        "cost": typed(CostRow, cost),
    }


def summary_text(data: Summary) -> str:
    """The summary as aligned text of at most 100 columns."""
    run = data["run"]
    parts = [
        f"{run['method']}, scale {run['scale']}, seed {run['seed']}: {run['steps']} rollout steps "
        f"({run['run_key']}, {run['created_at']} UTC)\n{run['machine']}\n"
    ]
    if data["accuracy"]:
        rows = [
            [
                r["family"],
                number(r["base"]),
                number(r["student"]),
                signed(r["gain"]),
                number(r["teacher"]),
                f"{r['scored'] or 0} of {r['benchmarks']}",
                str(r["n"] or 0),
            ]
            for r in data["accuracy"]
        ]
        columns = ["family", "before", "after", "gain", "teacher", "benchmarks", "questions"]
        parts.append("Accuracy, percent\n" + table(columns, rows))
        short = [b for b in data["benchmarks"] if b["missing_reason"] or b["student"] is None]
        if short:
            parts.append(
                "Not complete: "
                + "; ".join(
                    f"{b['benchmark']} ({b['missing_reason'] or 'not evaluated'})" for b in short
                )
                + "\n"
            )
    if data["graduation"]:
        rows = [
            [
                f"{r['entry_accuracy']:g} %",
                str(r["admitted"]),
                str(r["revisited"]),
                str(r["graduated"]),
                f"{r['share']:.1f} %",
                str(r["evicted"]),
                str(r["held"]),
            ]
            for r in data["graduation"]
        ]
        columns = ["entry accuracy", "admitted", "seen again", "graduated", "share", "evicted"]
        parts.append("Replay buffer\n" + table([*columns, "still in"], rows))
    for level, title in (("stage", "Wall time per stage"), ("phase", "Wall time per phase")):
        of_level = [t for t in data["times"] if t["level"] == level]
        if of_level:
            rows = [
                [t["phase"], duration(t["seconds"]), f"{t['share']:.0f} %", *_idle([t], level)]
                for t in of_level
            ]
            spent = sum(t["seconds"] for t in of_level)
            rows.append(["all", duration(spent), "100 %", *_idle(of_level, level)])
            columns = [level, "time", "share", "outside model compute"]
            if level == "phase":
                columns += [f"{role} idle" for role in ROLES]
            parts.append(title + "\n" + table(columns, rows))
            parts += [
                f"New weights for the student's engine: {copied / 1e6:,.1f} MB copied "
                f"in {duration(t['sync_seconds'])}\n"
                for t in of_level
                if (copied := t["sync_bytes"]) is not None
            ]
    if data["cost"]:
        rows = [
            [
                f"{r['role']} {r['activity']}",
                f"{r['tokens']:,}",
                scientific(r["flops_true"]),
                scientific(r["flops_paper"]),
            ]
            for r in data["cost"]
        ]
        rows.append(
            [
                "all",
                f"{sum(r['tokens'] for r in data['cost']):,}",
                scientific(sum(r["flops_true"] for r in data["cost"])),
                scientific(sum(r["flops_paper"] for r in data["cost"])),
            ]
        )
        columns = ["cost", "tokens", "FLOPs", "FLOPs, paper's convention"]
        parts.append("Compute\n" + table(columns, rows))
    return "\n".join(parts)


def _idle(rows: Sequence[TimeRow], level: str) -> list[str]:
    """The share of time outside of all models; of phases, also outside of each role's."""
    inside = [[r["model_seconds"] for r in rows]]
    if level == "phase":
        inside += [
            [r["student_seconds"] for r in rows],
            [r["teacher_seconds"] for r in rows],
            [r["learner_seconds"] for r in rows],
        ]
    whole = sum(r["seconds"] for r in rows)
    return [_outside(_total(spent), whole) for spent in inside]


def _total(values: Sequence[float | None]) -> float | None:
    present = [v for v in values if v is not None]
    return sum(present) if len(present) == len(values) else None


def _outside(inside: float | None, whole: float) -> str:
    if inside is None or not whole:
        return MISSING
    return f"{100 * (1 - inside / whole):.1f} %"
