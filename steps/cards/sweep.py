"""The card of a sweep: its members so far, their curves, and their scores over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.connection import open_database
from eval.report.summary import family_order
from eval.report.sweeps import CurveRow, ScoreRow, Together, together
from steps.cards.blocks import Tile, bar, charts, facts, head, heading, table, tiles
from steps.cards.chart import Points, lines, percent, seconds
from steps.cards.page import Card, put
from zppo_core.errors import UserError


@dataclass(frozen=True)
class Row:
    """A member as the card shows it."""

    name: str
    method: str
    scale: str
    seed: int
    total: int  # rollout steps, 0: one pass over the corpus
    status: str


def draw(card: Card, name: str, rows: Sequence[Row], database: str) -> None:
    """Put the sweep so far in place of what was there."""
    put(card, *view(name, rows, found_in(database, rows), database))


def found_in(database: str, rows: Sequence[Row]) -> Together:
    """What the database holds of the members; nothing while it is in use or not there."""
    try:
        with open_database(database, wait=5.0) as connection:
            return together(connection, [row.name for row in rows])
    except UserError as fault:
        print(f"sweep card: {fault}", flush=True)
        return {"members": [], "curves": [], "scores": []}


def view(name: str, rows: Sequence[Row], record: Together, database: str) -> list[str]:
    """Members with their state, accuracy while training, scores by method."""
    done = sum(row.status.startswith("done") for row in rows)
    failed = sum(row.status == "failed" for row in rows)
    hours = sum(member["hours"] or 0.0 for member in record["members"])
    parts = [
        head(f"Sweep {name}", f"{len(rows)} runs"),
        bar(done, len(rows)),
        tiles(
            [
                Tile("done", f"{done} of {len(rows)}", f"{failed} failed" if failed else ""),
                Tile("training", seconds(3600 * hours), "all runs together"),
                Tile("methods", str(len({row.method for row in rows}))),
                Tile("seeds", str(len({row.seed for row in rows}))),
            ]
        ),
    ]
    if record["curves"]:
        scales = dict.fromkeys(row["scale"] for row in record["curves"])
        drawn = [curve(scale, record["curves"]) for scale in scales]
        parts += [heading("Accuracy while training", "New questions, mean over seeds.")]
        parts.append(charts(drawn))
    if record["scores"]:
        parts += [heading("Scores", "Percent: mean over seeds, ± their standard deviation.")]
        parts.append(scores(record["scores"]))
    parts += [heading("Members"), members(rows, record)]
    links = {
        "database": database,
        "two of them": f"zppo compare {' '.join(row.name for row in rows[:2])}",
        "a table of the paper": f"zppo tables --table 3 --database {database}",
    }
    return [*parts, heading("Where it is"), facts(links, code=True)]


def curve(scale: str, rows: Sequence[CurveRow]) -> str:
    """The curves of a scale, a line for each method."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row["scale"] == scale:
            series.setdefault(row["method"], []).append((row["step"], row["accuracy"]))
    shown: dict[str, Points] = {**series}
    return lines(f"Scale {scale}", shown, percent, (0.0, 1.0))


def scores(rows: Sequence[ScoreRow]) -> str:
    """Methods by families of benchmarks."""
    families = sorted({row["family"] for row in rows}, key=family_order)
    cells = {(r["scale"], r["method"], r["family"]): r for r in rows}
    lines_of = dict.fromkeys((r["scale"], r["method"]) for r in rows)

    def cell(row: ScoreRow | None) -> str:
        if row is None or row["score"] is None:
            return "–"
        spread = "" if row["sd"] is None else f" ± {row['sd']:.1f}"
        return f"{row['score']:.1f}{spread} ({row['runs']})"

    return table(
        ["scale", "method", *families],
        [
            [scale, method, *(cell(cells.get((scale, method, family))) for family in families)]
            for scale, method in lines_of
        ],
        left=2,
    )


def members(rows: Sequence[Row], record: Together) -> str:
    """Every member with its state and how far it is."""
    steps = {member["run_key"]: member for member in record["members"]}

    def far(row: Row) -> tuple[str, str]:
        member = steps.get(row.name)
        if member is None:
            return ("0", "–")
        total = f" of {row.total}" if row.total else ""
        spent = "–" if member["hours"] is None else seconds(3600 * member["hours"])
        return (f"{member['steps']}{total}", spent)

    return table(
        ["run", "method", "scale", "state", "seed", "steps", "training"],
        [[r.name, r.method, r.scale, r.status, str(r.seed), *far(r)] for r in rows],
        left=4,
    )
