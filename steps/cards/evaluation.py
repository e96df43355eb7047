"""The card of an `evaluate` task: the three scores, and what the student said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metaflow.cards import Markdown, Table, VegaChart

from eval.benchmark import Benchmark
from eval.harness import SampleRow, ScoreRow
from eval.scores import Item
from steps.cards.blocks import Card, note, safe_text

ROLE_COLOURS = {"base": "#999999", "student": "#0072B2", "teacher": "#E69F00"}
OTHER = "#0072B2"  # of a model outside any run


def draw(
    card: Card,
    benchmark: Benchmark,
    rows: Sequence[ScoreRow],
    examples: Sequence[SampleRow],
    item: Item,
) -> None:
    """Scores with intervals as a chart and a table, and the student's first answers."""
    part = f", part {item['index'] + 1} of {item['of']}" if item["of"] > 1 else ""
    card.append(note(f"# {benchmark.name} ({benchmark.family}{part})"))
    card.append(interval_chart(rows, "role", "", [r["role"] for r in rows]))
    card.append(
        Table(
            [
                [
                    r["role"],
                    percent(r["score"]),
                    f"{percent(r['low'])} to {percent(r['high'])}",
                    f"{r['n']} of {r['expected_n']}",
                    str(r["unparsed"]),
                    "no judge" if r["malformed"] is None else str(r["malformed"]),
                ]
                for r in rows
            ],
            headers=[
                "model",
                "score",
                "95 % interval",
                "samples",
                "without an answer",
                "malformed verdicts",
            ],
        )
    )
    for row in rows:
        if row["missing_reason"]:
            card.append(Markdown(safe_text(f"{row['role']}: {row['missing_reason']}")))
    if not examples:
        return
    card.append(note("## What it said"))
    card.append(
        Table(
            [[e["sample_id"], Markdown(safe_text(e["output"])), e["outcome"]] for e in examples],
            headers=["sample", "response", "outcome"],
        )
    )


def percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def interval_chart(
    rows: Sequence[Mapping[str, object]], y: str, title: str, order: Sequence[str]
) -> VegaChart:
    """Scores as points with their 95 % intervals, one row of the chart a value of `y`."""
    values = [
        {y: r[y], "role": r["role"], **{k: r[k] for k in ("score", "low", "high")}}
        for r in rows
        if r["score"] is not None
    ]
    rows_of_chart = {"field": y, "type": "nominal", "sort": list(order), "title": None}
    there = dict.fromkeys(str(r["role"]) for r in rows)
    roles = ROLE_COLOURS | {role: OTHER for role in there if role not in ROLE_COLOURS}
    shown = {role: colour for role, colour in roles.items() if role in there}
    colour = {
        "field": "role",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(shown), "range": list(shown.values())},
    }
    axis = {"format": ".0%", "grid": True}
    x = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": axis, "title": "accuracy"}
    return VegaChart(
        {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": title,
            "width": "container",
            "data": {"values": values},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 2},
                    "encoding": {
                        "y": rows_of_chart,
                        "x": {**x, "field": "low"},
                        "x2": {"field": "high"},
                        "color": colour,
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 90, "tooltip": True},
                    "encoding": {"y": rows_of_chart, "x": {**x, "field": "score"}, "color": colour},
                },
            ],
        }
    )
