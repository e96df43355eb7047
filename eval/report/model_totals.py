"""Every total of a model's benchmarks, and of each group in them, from its stored samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from eval.render import number, table
from eval.report.rows import Sample, records, typed
from eval.report.stored import evaluated, record_of, stored_scores, total_of
from eval.report.summary import family_order
from eval.scoring import totals
from eval.scoring.totals import Clusters, Scored, Total

SAMPLES = """
SELECT benchmark, sample_id AS id, any_value(score) AS score, any_value(cluster) AS cluster
FROM eval_samples
WHERE suite = ? AND protocol_key = ? AND model_key = ? GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class ModelTotal:
    """A total of a model's stored samples, in percent; None where it has no unit among them.

    `stored` marks the one that is its score elsewhere; `units` are what it is a mean of, in so many
    `clusters`.
    """

    suite: str
    protocol_key: str
    family: str
    benchmark: str
    total: str
    stored: bool
    score: float | None
    low: float | None
    high: float | None
    units: int
    clusters: int


def all_totals(connection: duckdb.DuckDBPyConnection, name: str) -> list[ModelTotal]:
    """Every total and every group of a model's benchmarks, from its stored samples.

    `name` as for `compare`. UserError if nothing of that name was evaluated.
    """
    _, evaluations = evaluated(connection, name)
    totals_found = []
    for one in evaluations:
        suite, protocol, model = one["suite"], one["protocol_key"], one["model_key"]
        stored = {
            (family, benchmark): score
            for (key, family, benchmark), score in stored_scores(
                connection, suite, protocol
            ).items()
            if key == model
        }
        rows: dict[str, list[Sample]] = {}
        for r in typed(Sample, records(connection, SAMPLES, [suite, protocol, model])):
            rows.setdefault(r["benchmark"], []).append(r)
        for family, benchmark in sorted(stored, key=lambda p: (family_order(p[0]), p[1])):
            of_benchmark, names = rows.get(benchmark, []), record_of(suite, benchmark).totals
            samples = [(r["id"], r["score"]) for r in of_benchmark]
            clusters = {r["id"]: c for r in of_benchmark if (c := r["cluster"]) is not None}
            sides = [(stored[family, benchmark], samples)]
            shown = total_of(names, sides) if samples else None
            for total, t in breakdown(names, samples, clusters):
                score, low, high = (100 * t.score, 100 * t.low, 100 * t.high) if t else [None] * 3
                totals_found.append(
                    ModelTotal(
                        suite,
                        protocol,
                        family,
                        benchmark,
                        total,
                        total == shown,
                        score,
                        low,
                        high,
                        t.units if t else 0,
                        t.clusters if t else 0,
                    )
                )
    return totals_found


def breakdown(
    names: Sequence[str], scored: Scored, clusters: Clusters
) -> list[tuple[str, Total | None]]:
    """(name, total) of all that can be made of a benchmark's scored samples.

    Its own totals `names`, the mean over all samples, the share at every tenth where it counts by a
    threshold, and where groups are kinds and not single problems, each alone ("only:<group>"); ids
    with a kind within the group ("ok/anatomy/3") give these too ("*/anatomy").
    """
    by_name = {name: totals.total(name, scored, clusters) for name in (*names, "pooled")}
    if "half_or_more" in names:
        for tenths in (1, 2, 3, 4, 6, 7, 8, 9, 10):
            # 0.7 is not 7 tenths to the last bit, and a judge's 0.7 is to count
            passed = [(i, float(score >= tenths / 10 - 1e-9)) for i, score in scored]
            by_name[f"{tenths / 10} or more"] = totals.total("pooled", passed, clusters)
    if any(t in ("mean_of_groups", "official") or ":" in t for t in names):
        for group in sorted({totals.group_of(i) for i, _ in scored}):
            by_name[f"only:{group}"] = totals.total(f"only:{group}", scored, clusters)
        parts = [i.split("/") for i, _ in scored]
        if parts and all(len(p) == 3 for p in parts):
            for kind in sorted({p[1] for p in parts}):
                of_kind = [s for s, p in zip(scored, parts, strict=True) if p[1] == kind]
                by_name[f"*/{kind}"] = totals.total("pooled", of_kind, clusters)
    return list(by_name.items())


def totals_text(model_totals: Sequence[ModelTotal]) -> str:
    """The totals as a table for each protocol under which the model was evaluated."""
    parts = []
    for suite, protocol in dict.fromkeys((t.suite, t.protocol_key) for t in model_totals):
        rows = [
            [
                t.family,
                t.benchmark,
                t.total + ("*" if t.stored else ""),
                number(t.score),
                f"[{number(t.low)}, {number(t.high)}]",
                f"{t.units:,}",
                f"{t.clusters:,}",
            ]
            for t in model_totals
            if (t.suite, t.protocol_key) == (suite, protocol)
        ]
        columns = ["family", "benchmark", "total", "score", "95 %", "units", "clusters"]
        parts.append(
            f"suite {suite}, protocol {protocol}; *: the stored score\n\n"
            + table(columns, rows, left=3)
        )
    return "\n".join(parts)
