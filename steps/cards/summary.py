"""The card of the `aggregate` task: what the run learned, on one page."""

from __future__ import annotations

from collections.abc import Sequence

from metaflow.cards import Table, VegaChart

from eval.report.rows import Summary, TimeRow
from steps.cards.blocks import Card, note
from steps.cards.evaluation import interval_chart


def draw(card: Card, summary: Summary) -> None:
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
            "score": share(score),
            "low": share(low),
            "high": share(high),
        }
        for b in summary["benchmarks"]
        for role, score, low, high in (
            ("base", b["base"], b["base_low"], b["base_high"]),
            ("student", b["student"], b["student_low"], b["student_high"]),
            ("teacher", b["teacher"], b["teacher_low"], b["teacher_high"]),
        )
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
                        str(g["admitted"]),
                        str(g["revisited"]),
                        str(g["graduated"]),
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


def share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def number(value: float | None, sign: str = "") -> str:
    return "none" if value is None else f"{value:{sign}.1f}"


def bars(rows: Sequence[TimeRow], title: str) -> VegaChart:
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
