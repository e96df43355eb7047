"""Two runs, or models, on the same questions, and the leaderboard.

python -m eval.compare RUN_A RUN_B [--json]    (also names of models that eval_flow.py scored)
python -m eval.compare --leaderboard [--suite nano]

Samples are paired by their ids: the difference A - B with a bootstrap interval over questions, and
McNemar's exact test, corrected over the benchmarks by Holm.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from eval.database import DEFAULT_DATABASE, open_database
from eval.render import number, signed, table
from eval.summary import family_order, find_run, records
from zppo_core.errors import UserError
from zppo_core.streams import stream

RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """A against B on one benchmark, or a family's mean over its benchmarks; in points.

    `better` and `worse` count questions on which A scores above and below B. `p` is McNemar's,
    `holm` the same corrected; both None for a family.
    """

    family: str
    benchmark: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    n: int
    unpaired: int
    better: int
    worse: int
    p: float | None = None
    holm: float | None = None


def mcnemar(better: int, worse: int) -> float:
    """Two-sided exact p of so uneven a split of the questions on which two models differ."""
    from scipy.stats import binomtest

    return 1.0 if better + worse == 0 else float(binomtest(better, better + worse).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's correction: p values that hold for all of them together, in order."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = highest
    return corrected


PAIRS = """
WITH samples AS (
    SELECT model_key, family, benchmark, sample_id, any_value(score) AS score FROM eval_samples
    WHERE suite = ? AND protocol_key = ? AND model_key IN (?, ?) GROUP BY ALL
)
SELECT coalesce(a.family, b.family) AS family, coalesce(a.benchmark, b.benchmark) AS benchmark,
    a.score AS a, b.score AS b
FROM (FROM samples WHERE model_key = ?) a
FULL JOIN (FROM samples WHERE model_key = ?) b USING (benchmark, sample_id)
ORDER BY benchmark, sample_id
"""
# of a model: how it was evaluated, with most benchmarks first
OUTSIDE = """
SELECT model_key, suite, protocol_key, count(*) AS benchmarks FROM eval_scores
WHERE run_key IS NULL AND role = ? GROUP BY ALL ORDER BY benchmarks DESC, max(source_id) DESC
"""
OF_RUN = """
SELECT model_key, suite, protocol_key, count(*) AS benchmarks FROM run_scores
WHERE run_key = ? AND role = 'student' GROUP BY ALL
"""


def _evaluated(
    connection: duckdb.DuckDBPyConnection, name: str
) -> tuple[str, list[dict[str, Any]]]:
    """(full name, evaluations) of a model that eval_flow.py scored, else of a run's student."""
    outside = records(connection, OUTSIDE, [name])
    if outside:
        if len({r["model_key"] for r in outside}) > 1:
            raise UserError(f"several models were evaluated as {name!r}; give each its own --name")
        return name, outside
    key = find_run(connection, name)["run_key"]
    found = records(connection, OF_RUN, [key])
    if not found:
        raise UserError(f"{key} was not evaluated")
    return key, found


def compare(connection: duckdb.DuckDBPyConnection, run_a: str, run_b: str) -> list[Difference]:
    """Differences by benchmark, then by family; UserError for other suites or protocols.

    Each is a run's key, or its beginning, or the name of a model that eval_flow.py has scored.
    """
    (a, of_a), (b, of_b) = (_evaluated(connection, run) for run in (run_a, run_b))
    if a == b:
        raise UserError(f"{run_a!r} and {run_b!r} are the same run {a}")
    others = {(r["suite"], r["protocol_key"]): r for r in of_b}
    common = [r for r in of_a if (r["suite"], r["protocol_key"]) in others]
    if not common:
        raise UserError(f"{a} and {b} were evaluated by other suites or protocols; evaluate again")
    one = common[0]
    models = [one["model_key"], others[one["suite"], one["protocol_key"]]["model_key"]]
    rows = records(connection, PAIRS, [one["suite"], one["protocol_key"], *models, *models])
    places = sorted(
        {(r["family"], r["benchmark"]) for r in rows}, key=lambda p: (family_order(p[0]), p[1])
    )
    found, scores = [], {}
    for family, benchmark in places:
        own = [r for r in rows if r["benchmark"] == benchmark]
        pairs = [(r["a"], r["b"]) for r in own if None not in (r["a"], r["b"])]
        if not pairs:
            raise UserError(f"{a} and {b} share no question of {benchmark}")
        scores[family, benchmark] = 100 * np.array(pairs, dtype=np.float64)
        found.append(
            _difference(family, benchmark, [scores[family, benchmark]], len(own) - len(pairs))
        )
    ps = [mcnemar(d.better, d.worse) for d in found]
    found = [
        Difference(**{**asdict(d), "p": p, "holm": h})
        for d, p, h in zip(found, ps, holm(ps), strict=True)
    ]
    for family in dict.fromkeys(f for f, _ in places):
        parts = [s for (f, _), s in scores.items() if f == family]
        missing = sum(d.unpaired for d in found if d.family == family)
        found.append(_difference(family, "mean", parts, missing))
    return found


def _difference(family: str, benchmark: str, parts: Sequence[np.ndarray],
                unpaired: int) -> Difference:  # fmt: skip
    """Benchmarks weigh the same; questions are resampled within each."""
    rng = stream(0, "comparison", benchmark)
    means_R = np.zeros(RESAMPLES)
    gaps = [p[:, 0] - p[:, 1] for p in parts]
    for gap in gaps:
        drawn = rng.integers(0, len(gap), (RESAMPLES, len(gap)))
        means_R += gap[drawn].mean(axis=1) / len(gaps)
    low, high = np.percentile(means_R, [2.5, 97.5])
    a, b = (float(np.mean([p[:, i].mean() for p in parts])) for i in (0, 1))
    return Difference(
        family, benchmark, a, b, a - b, float(low), float(high), sum(map(len, gaps)), unpaired,
        sum(int((g > 0).sum()) for g in gaps), sum(int((g < 0).sum()) for g in gaps),
    )  # fmt: skip


def compare_text(found: Sequence[Difference]) -> str:
    """The comparison as a table."""
    rows = [
        [d.family, d.benchmark, number(d.a), number(d.b), signed(d.difference),
         f"[{d.low:+.1f}, {d.high:+.1f}]", f"{d.n:,}" + (f" (-{d.unpaired})" if d.unpaired else ""),
         f"{d.better} : {d.worse}", _p(d.p), _p(d.holm)]
        for d in found
    ]  # fmt: skip
    columns = ["family", "benchmark", "A", "B", "A - B", "95 %", "questions", "better : worse",
               "p", "p, Holm"]  # fmt: skip
    return table(columns, rows, left=2)


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def leaderboard_text(connection: duckdb.DuckDBPyConnection, suite: str) -> str:
    """Every model on every benchmark of a suite, best first; UserError if nothing is stored."""
    rows = records(
        connection, "SELECT * FROM leaderboard WHERE suite = ? OR ? = '' ORDER BY suite, "
        "family, benchmark, protocol_key, place", [suite, suite],
    )  # fmt: skip
    if not rows:
        raise UserError(f"no scores of suite {suite!r}" if suite else "no scores in the database")
    cells = [
        [r["benchmark"], r["model"], str(r["place"]), number(r["score"]),
         f"[{number(r['low'])}, {number(r['high'])}]", f"{r['n']:,} of {r['expected_n']:,}",
         str(r["unparsed"]), r["missing_reason"] or ""]
        for r in rows
    ]  # fmt: skip
    columns = ["benchmark", "model", "place", "score", "95 %", "questions", "unparsed", "missing"]
    return table(columns, cells, left=2)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.compare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("runs", nargs="*", metavar="RUN", help="two run keys, or their beginnings")
    parser.add_argument("--leaderboard", action="store_true")
    parser.add_argument("--suite", default="", help="for the leaderboard")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--database", type=Path, default=Path(DEFAULT_DATABASE))
    o = parser.parse_args(arguments)
    if o.leaderboard == bool(o.runs) or len(o.runs) not in (0, 2):
        parser.error("name two runs, or --leaderboard")
    try:
        with open_database(o.database) as connection:
            if o.leaderboard:
                print(leaderboard_text(connection, o.suite))
                return 0
            found = compare(connection, *o.runs)
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    data: list[dict[str, Any]] = [asdict(d) for d in found]
    print(json.dumps(data, indent=2) if o.json else compare_text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
