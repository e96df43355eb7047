"""The card of the `aggregate` task: what the run learned, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metaflow.cards import Table, VegaChart

from steps.cards.blocks import note
from steps.cards.evaluation import ROLE_COLOURS, interval_chart


def draw(card: Any, summary: dict[str, Any]) -> None:
    """Accuracy before and after by family and benchmark, the buffer, time and compute."""
    run = summary["run"]
    card.append(
        note(
            f"# {run['method']}, scale {run['scale']}, seed {run['seed']}\n\n"
            f"`{run['run_key']}`: {run['steps']} rollout steps, {run['student_params']:,} "
            f"parameters, on {run['machine']}, {run['created_at']} UTC, code {run['code_version']}."
        )
    )
    card.append(note("## Accuracy"))
    card.append(
        Table(
            [
                [
                    r["family"],
                    number(r["base"]),
                    number(r["student"]),
                    number(r["gain"], "+"),
                    number(r["teacher"]),
                    f"{r['scored'] or 0} of {r['benchmarks']}",
                ]
                for r in summary["accuracy"]
            ],
            headers=["family", "before, %", "after, %", "gain", "teacher, %", "benchmarks"],
        )
    )
    points = [
        {
            "benchmark": b["benchmark"],
            "role": role,
            **{
                k: None if b[name] is None else b[name] / 100
                for k, name in (("score", role), ("low", f"{role}_low"), ("high", f"{role}_high"))
            },
        }
        for b in summary["benchmarks"]
        for role in ROLE_COLOURS
    ]
    order = [b["benchmark"] for b in summary["benchmarks"]]
    card.append(interval_chart(points, "benchmark", "Accuracy by benchmark, 95 % intervals", order))
    if summary["graduation"]:
        card.append(note("## Replay buffer, by accuracy at admission"))
        card.append(
            Table(
                [
                    [
                        f"{g['entry_accuracy']:g} %",
                        g["admitted"],
                        g["revisited"],
                        g["graduated"],
                        f"{g['share']:.1f} %",
                    ]
                    for g in summary["graduation"]
                ],
                headers=["entry accuracy", "admitted", "seen again", "graduated", "share"],
            )
        )
    card.append(note("## Where the time went"))
    for level, title in (("stage", "Stages"), ("phase", "Phases of the rollout steps")):
        rows = [t for t in summary["times"] if t["level"] == level]
        if rows:
            card.append(bars(rows, title))


def number(value: float | None, sign: str = "") -> str:
    return "none" if value is None else f"{value:{sign}.1f}"


def bars(rows: Sequence[dict[str, Any]], title: str) -> VegaChart:
    """Seconds by stage or phase, longest first."""
    values = [{"phase": r["phase"], "seconds": r["seconds"]} for r in rows]
    return VegaChart(
        {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": title,
            "width": "container",
            "data": {"values": values},
            "mark": {"type": "bar", "tooltip": True, "color": "#0072B2"},
            "encoding": {
                "y": {"field": "phase", "type": "nominal", "sort": "-x", "title": None},
                "x": {"field": "seconds", "type": "quantitative", "title": "seconds"},
            },
        }
    )
