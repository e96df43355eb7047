"""The reports over ten million evaluated samples.

    python benchmarks/bench_report.py [--rows 10000000]

Ninety-eight runs of the paper's 31 benchmarks are written by DuckDB itself, scores as the mean of
their samples. Then, each in a process of its own as a user starts it: the summary of a run, the
leaderboard, family means of all runs, and a benchmark's samples by outcome and extractor.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from common import in_fresh_process, peak_mib, record

from eval.report.connection import connect, open_database
from eval.suite import SUITES

PER_RUN = sum(b.expected for b in SUITES["paper31"])
SAMPLES = """
INSERT INTO eval_samples BY NAME
SELECT 'model-' || r AS model_key, 'run-' || r AS run_key, 'student' AS role, 'paper31' AS suite,
    'p' AS protocol_key, b.name AS benchmark, b.family AS family,
    'group' || (i % 7) || '/' || i AS sample_id, md5(i::VARCHAR) AS prompt_digest,
    '<think>' || repeat(chr(97 + (i % 26)::INT), 40) || '</think> \\boxed{' || (i % 10) || '}'
        AS output,
    if(hash(r, i) % 20 = 0, NULL, (i % 10)::VARCHAR) AS answer,
    if(hash(r, i) % 20 = 0, 'none', 'last box') AS extractor, 'choice' AS scorer,
    '1' AS scorer_version, (hash(r, b.name, i) % 100 < 40 + r % 30)::INT AS score,
    if(score = 1, 'correct', 'wrong') AS outcome, (hash(i) % 900)::INT AS tokens, 1.0 AS seconds,
    1 AS source_id
FROM benchmarks b, range(?, ?) runs(r), range(b.expected) rows(i)
"""
SCORES = """
INSERT INTO eval_scores BY NAME
SELECT model_key, run_key, role, suite, protocol_key, benchmark, family, count(*) AS n,
    count(*) AS expected_n, avg(score) AS score, stddev_samp(score) / sqrt(count(*)) AS stderr,
    count(*) - count(answer) AS unparsed, 1 AS source_id
FROM eval_samples GROUP BY ALL
"""
RUNS = """
INSERT INTO runs BY NAME
SELECT DISTINCT run_key, now()::TIMESTAMP AS created_at, '4B' AS scale, 'zppo' AS method,
    replace(run_key, 'run-', '')::INT AS seed, '{}' AS config_json, 'none' AS code_version,
    'none' AS machine, 'student' AS student_model, 'teacher' AS teacher_model,
    4000000000 AS student_params, 27000000000 AS teacher_params, 1 AS source_id
FROM eval_scores
"""
REPORTS = {
    "summary of a run": None,
    "leaderboard": "SELECT * FROM leaderboard ORDER BY family, benchmark, place",
    "family means of all runs": "SELECT * FROM scoreboard WHERE benchmark = 'Avg'",
    "answers without a box, by benchmark and run": "SELECT benchmark, run_key, "
    "avg((extractor = 'none')::INT), avg(tokens) FROM eval_samples GROUP BY ALL",
}


def build(path: Path, rows: int) -> int:
    """A database with at least `rows` samples; how many they are."""
    runs = -(-rows // PER_RUN)
    connection = connect(path, read_only=False)
    try:
        connection.execute("SET threads = 2")
        connection.execute("CREATE TEMP TABLE benchmarks (name TEXT, family TEXT, expected INT)")
        connection.executemany(
            "INSERT INTO benchmarks VALUES (?, ?, ?)",
            [(b.name, b.family, b.expected) for b in SUITES["paper31"]],
        )
        for start in range(0, runs, 10):
            connection.execute(SAMPLES, [start, min(start + 10, runs)])
        for statement in (SCORES, RUNS):
            connection.execute(statement)
    finally:
        connection.close()
    return runs * PER_RUN


def report(path: str, name: str) -> dict[str, Any]:
    """Seconds from opening the database to the last row, and rows."""
    start = time.perf_counter()
    if REPORTS[name] is None:
        from eval.report.tables import summary, summary_text

        rows = summary_text(summary(path, "run-1")).count("\n")
    else:
        with open_database(path) as connection:
            connection.execute("SET threads = 2")
            rows = len(connection.execute(REPORTS[name]).fetchall())
    return {"seconds": time.perf_counter() - start, "rows": rows, "peak": peak_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--report", default="", help=argparse.SUPPRESS)
    parser.add_argument("--database", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.report:
        print(json.dumps(report(a.database, a.report)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.duckdb"
        start = time.perf_counter()
        n = build(path, a.rows)
        print(
            f"{n:,} samples in {time.perf_counter() - start:.0f} s, "
            f"{path.stat().st_size / 1e6:,.0f} MB"
        )
        rows = []
        for name in REPORTS:
            found = in_fresh_process(__file__, "--database", str(path), "--report", name)
            rows.append(
                {
                    "report": name,
                    "samples": n,
                    "seconds": found["seconds"],
                    "lines": found["rows"],
                    "peak MiB": found["peak"],
                }
            )
        rows.append(
            {
                "report": "all",
                "samples": n,
                "seconds": sum(r["seconds"] for r in rows),
                "lines": sum(r["lines"] for r in rows),
                "peak MiB": max(r["peak MiB"] for r in rows),
            }
        )
    record("bench_report", {"rows": a.rows}, rows)


if __name__ == "__main__":
    main()
