"""Two runs, or models, on the same questions; every total of one; and the leaderboard.

zppo compare RUN_A RUN_B [--json]    (also names of models that eval_flow.py scored)
zppo compare --totals RUN [--json]
zppo compare --leaderboard [--suite nano]

Samples are paired by their ids, and A and B are the benchmark's own total of them, the one that is
stored: the difference A - B has a standard error and a bootstrap interval over the clusters of what
that total is a mean of: samples of one problem, picture or video are not independent. The counts
"better : worse" and McNemar's exact test, corrected over the benchmarks by Holm, are of samples,
whatever the total; of a cluster all samples change sides together. --totals takes every total, and
every group, from the stored samples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import duckdb
import numpy as np

from eval.benchmark import Benchmark
from eval.render import number, signed, table
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.model_totals import ModelTotal, all_totals, totals_text
from eval.report.rows import Pair, Place, records, typed
from eval.report.stored import evaluated, mean_of, record_of, stored_scores, total_of
from eval.report.summary import family_order
from eval.scoring import totals
from eval.scoring.clusters import Clustered, Stratum
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.streams import stream


@dataclass(frozen=True)
class Difference:
    """A against B on one benchmark, or a family's mean over its benchmarks; in points.

    `total` names what A and B are of the samples that both have: `n`, in so many `clusters`, over
    which `stderr`, `low` and `high` are. `better` and `worse` count samples on which A scores above
    and below B. `p` is McNemar's over these, `holm` the same corrected; both None for a family,
    whose total is empty.
    """

    family: str
    benchmark: str
    total: str
    a: float
    b: float
    difference: float
    stderr: float
    low: float
    high: float
    n: int
    clusters: int
    unpaired: int
    better: int
    worse: int
    p: float | None = None
    holm: float | None = None


def mcnemar(nets: Sequence[int]) -> float:
    """Two-sided exact p of the sum of `nets`, each of which might as well have the other sign.

    A net is of a cluster: the samples on which A is better less those on which it is worse. Where
    each sample is a cluster, that is McNemar's test.
    """
    from scipy.stats import binom

    chances = np.ones(1)  # of each sum, from the smallest to the largest
    for size, n in Counter(abs(net) for net in nets if net).items():
        of_size = np.zeros(2 * n * size + 1)
        of_size[:: 2 * size] = binom.pmf(np.arange(n + 1), n, 0.5)
        chances = np.convolve(chances, of_size)
    sums = np.arange(len(chances)) - len(chances) // 2
    return min(1.0, float(chances[abs(sums) >= abs(sum(nets))].sum()))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's correction: p values that hold for all of them together, in order."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = highest
    return corrected


PAIRS = """
WITH samples AS (
    SELECT model_key, family, benchmark, sample_id, any_value(score) AS score,
        any_value(cluster) AS cluster FROM eval_samples
    WHERE suite = ? AND protocol_key = ? AND model_key IN (?, ?) GROUP BY ALL
)
SELECT coalesce(a.family, b.family) AS family, coalesce(a.benchmark, b.benchmark) AS benchmark,
    sample_id AS id, a.score AS a, b.score AS b, coalesce(a.cluster, b.cluster) AS cluster
FROM (FROM samples WHERE model_key = ?) a
FULL JOIN (FROM samples WHERE model_key = ?) b USING (benchmark, sample_id)
ORDER BY benchmark, sample_id
"""


def compare(connection: duckdb.DuckDBPyConnection, run_a: str, run_b: str) -> list[Difference]:
    """Differences by benchmark, then by family; UserError for other suites or protocols.

    Each is a run's key, or its beginning, or the name of a model that eval_flow.py has scored.
    """
    (a, of_a), (b, of_b) = (evaluated(connection, run) for run in (run_a, run_b))
    if a == b:
        raise UserError(f"{run_a!r} and {run_b!r} are the same run {a}")
    others = {(r["suite"], r["protocol_key"]): r for r in of_b}
    common = [r for r in of_a if (r["suite"], r["protocol_key"]) in others]
    if not common:
        raise UserError(f"{a} and {b} were evaluated by other suites or protocols; evaluate again")
    one = common[0]
    models = [one["model_key"], others[one["suite"], one["protocol_key"]]["model_key"]]
    how = [one["suite"], one["protocol_key"], *models, *models]
    rows = typed(Pair, records(connection, PAIRS, how))
    places = sorted(
        {(r["family"], r["benchmark"]) for r in rows}, key=lambda p: (family_order(p[0]), p[1])
    )
    stored = stored_scores(connection, one["suite"], one["protocol_key"])
    differences, parts = [], {}
    for family, benchmark in places:
        of_benchmark = [r for r in rows if r["benchmark"] == benchmark]
        record = record_of(one["suite"], benchmark)
        marks = [stored.get((model, family, benchmark)) for model in models]
        answered = [
            [(r["id"], score) for r in of_benchmark if (score := r["a"]) is not None],
            [(r["id"], score) for r in of_benchmark if (score := r["b"]) is not None],
        ]
        name = total_of(record.totals, list(zip(marks, answered, strict=True)))
        if name is None:
            raise UserError(
                f"{benchmark}: the stored scores are none of its totals "
                f"({', '.join(record.totals)}) of the stored samples; forget the runs and ingest "
                "them again (zppo database)"
            )
        pairs = [
            (r["id"], at_a, at_b)
            for r in of_benchmark
            if (at_a := r["a"]) is not None and (at_b := r["b"]) is not None
        ]
        part = _paired(name, pairs, _clusters(record, of_benchmark))
        if not part.gaps:
            raise UserError(f"{a} and {b} share no question of {benchmark}")
        parts[family, benchmark] = part
        differences.append(
            _difference(family, benchmark, name, [part], len(of_benchmark) - len(pairs))
        )
    ps = [mcnemar(part.nets) for part in parts.values()]
    differences = [
        replace(d, p=p, holm=h) for d, p, h in zip(differences, ps, holm(ps), strict=True)
    ]
    for family in dict.fromkeys(f for f, _ in places):
        of_family = [part for (f, _), part in parts.items() if f == family]
        missing = sum(d.unpaired for d in differences if d.family == family)
        differences.append(_difference(family, "mean", "", of_family, missing))
    return differences


@dataclass(frozen=True)
class _Part:
    """One benchmark's samples that both have: units of A - B by stratum, in points."""

    a: float
    b: float
    gaps: list[Stratum]
    nets: list[int]  # of each cluster: samples on which A is better less those where it is worse
    n: int
    better: int
    worse: int


def _clusters(record: Benchmark, rows: Sequence[Pair]) -> dict[str, str]:
    """Each sample's cluster; two benchmarks share one only if it is named in one data set.

    So the two Video-MME share their videos in the mean of the family.
    """
    return {
        r["id"]: f"{record.name}/{r['id']}"
        if r["cluster"] is None
        else f"{record.dataset}: {r['cluster']}"
        for r in rows
    }


def _paired(
    name: str, pairs: Sequence[tuple[str, float, float]], clusters: Mapping[str, str]
) -> _Part:
    # strata and units follow the order of the ids, which is the same on both sides
    a = totals.units_of(name, [(sample, score) for sample, score, _ in pairs], clusters)
    b = totals.units_of(name, [(sample, score) for sample, _, score in pairs], clusters)
    nets = Counter[str]()
    for sample, at_a, at_b in pairs:
        nets[clusters.get(sample, sample)] += (at_a > at_b) - (at_a < at_b)
    return _Part(
        100 * mean_of(a),
        100 * mean_of(b),
        [x._replace(values=100 * (x.values - y.values)) for x, y in zip(a, b, strict=True)],
        list(nets.values()),
        len(pairs),
        sum(at_a > at_b for _, at_a, at_b in pairs),
        sum(at_a < at_b for _, at_a, at_b in pairs),
    )


def _difference(
    family: str, benchmark: str, total: str, parts: Sequence[_Part], unpaired: int
) -> Difference:
    """Benchmarks weigh the same."""
    gaps = Clustered.of(
        [s._replace(weight=s.weight / len(parts)) for part in parts for s in part.gaps]
    )
    a, b = float(np.mean([part.a for part in parts])), float(np.mean([part.b for part in parts]))
    return Difference(
        family,
        benchmark,
        total,
        a,
        b,
        a - b,
        gaps.stderr(),
        *gaps.interval(stream(0, "comparison", benchmark)),
        sum(p.n for p in parts),
        gaps.clusters,
        unpaired,
        sum(p.better for p in parts),
        sum(p.worse for p in parts),
    )


def compare_text(differences: Sequence[Difference]) -> str:
    """The comparison as a table."""
    rows = [
        [
            d.family,
            d.benchmark,
            d.total,
            number(d.a),
            number(d.b),
            signed(d.difference),
            number(d.stderr),
            f"[{d.low:+.1f}, {d.high:+.1f}]",
            f"{d.n:,}" + (f" (-{d.unpaired})" if d.unpaired else ""),
            f"{d.clusters:,}",
            f"{d.better} : {d.worse}",
            _p(d.p),
            _p(d.holm),
        ]
        for d in differences
    ]
    columns = [
        "family",
        "benchmark",
        "total",
        "A",
        "B",
        "A - B",
        "s.e.",
        "95 %",
        "samples",
        "clusters",
        "better : worse",
        "p",
        "p, Holm",
    ]
    return table(columns, rows, left=3) + "better : worse, and p (McNemar's), are of samples\n"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def leaderboard_text(connection: duckdb.DuckDBPyConnection, suite: str) -> str:
    """Every model on every benchmark of a suite, best first; UserError if nothing is stored."""
    rows = records(
        connection,
        "SELECT * FROM leaderboard WHERE suite = ? OR ? = '' ORDER BY suite, "
        "family, benchmark, protocol_key, place",
        [suite, suite],
    )
    if not rows:
        raise UserError(f"no scores of suite {suite!r}" if suite else "no scores in the database")
    cells = [
        [
            r["benchmark"],
            r["model"],
            str(r["place"]),
            number(r["score"]),
            f"[{number(r['low'])}, {number(r['high'])}]",
            f"{r['n']:,} of {r['expected_n']:,}",
            str(r["unparsed"]),
            r["missing_reason"] or "",
        ]
        for r in typed(Place, rows)
    ]
    columns = ["benchmark", "model", "place", "score", "95 %", "questions", "unparsed", "missing"]
    return table(columns, cells, left=2)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command("compare", __doc__ or "", "zppo compare RUN_A RUN_B")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="two run keys, or their beginnings")
    parser.add_argument("--totals", metavar="RUN", help="every total of a run's or model's samples")
    parser.add_argument("--leaderboard", action="store_true")
    parser.add_argument("--suite", default="", help="for the leaderboard")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--database", type=Path, default=Path(DEFAULT_DATABASE))
    o = parser.parse_args(arguments)
    asked = [o.leaderboard, o.totals is not None, bool(o.runs)]
    if sum(asked) != 1 or len(o.runs) not in (0, 2):
        parser.error("name two runs, or --totals RUN, or --leaderboard")
    with open_database(o.database) as connection:
        if o.leaderboard:
            print(leaderboard_text(connection, o.suite))
        elif o.totals is not None:
            model_totals = all_totals(connection, o.totals)
            print(_json(model_totals) if o.json else totals_text(model_totals))
        else:
            differences = compare(connection, *o.runs)
            print(_json(differences) if o.json else compare_text(differences))
    return 0


def _json(rows: Sequence[Difference | ModelTotal]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2)
