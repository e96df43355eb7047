"""The card of a model that was evaluated without a run of ours: a line for each benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from eval.harness import ScoreRow
from steps.cards.blocks import charts, facts, head, heading, table
from steps.cards.chart import Interval, intervals
from steps.cards.evaluation import percent
from steps.cards.page import Card, put


def draw(card: Card, name: str, rows: Sequence[ScoreRow], database: str) -> None:
    """Put the card in place of what was there."""
    put(card, *view(name, rows, database))


def view(name: str, rows: Sequence[ScoreRow], database: str) -> list[str]:
    """Scores by benchmark with their intervals, and where they lie."""
    ordered = sorted(rows, key=lambda r: (r["family"], r["benchmark"]))
    values = [
        Interval(r["benchmark"], r["role"], r["score"], r["low"], r["high"])
        for r in ordered
        if r["score"] is not None
    ]
    return [
        head("Scores", name),
        charts([intervals("Accuracy with 95 % interval", values)]),
        table(
            ["family", "benchmark", "score", "95 % interval", "samples", "no answer", "missing"],
            [
                [
                    r["family"],
                    r["benchmark"],
                    percent(r["score"]),
                    f"{percent(r['low'])} to {percent(r['high'])}",
                    f"{r['n']:,} of {r['expected_n']:,}",
                    f"{r['unparsed']:,}",
                    r["missing_reason"] or "",
                ]
                for r in ordered
            ],
            left=2,
        ),
        heading("Where it is"),
        facts({"database": database, "side by side": "zppo compare --leaderboard"}, code=True),
    ]
