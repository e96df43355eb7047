"""What the life of a graduate looks like: from its admission to the buffer until it is known.

    zppo life RUN [RUN ...] [--entry 0] [--out results/life.svg]

Rows are questions that entered the buffer at --entry percent and graduated, in the order in which
they did. A square is an asking of the plain question, its shade the share of right rollouts; below
it a mark for each reformulated prompt of that step, filled where a rollout of it was right. The
last panel has the share of all questions admitted at --entry that graduated within so many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypedDict

import duckdb

from eval.render import MISSING, number, table
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.palette import colour_of, kind_order
from eval.report.plot import save
from eval.report.rows import records, typed
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 30  # graduates that a panel shows
FEWEST = 20  # questions that a share of graduates is of, at least


class EventRow(TypedDict):
    """A plain asking of a question while it is in the buffer."""

    question_id: str
    entry_step: int
    step: int
    event: str
    accuracy: float | None


class ReformulatedRow(TypedDict):
    question_id: str
    step: int
    kind: str
    accuracy: float


@dataclass(frozen=True)
class Stay:
    """One stay in the buffer: `asked` are steps (from 0) with the accuracy there [fraction].

    `left` is the step of graduation or eviction, None if it was still in at the end;
    `reformulated` has (step, kind, accuracy) of the prompts made of it.
    """

    question: str
    entered: int
    asked: tuple[tuple[int, float], ...]
    left: int | None
    graduated: bool
    reformulated: tuple[tuple[int, str, float], ...]


@dataclass(frozen=True)
class Lives:
    """The stays of a run that began at one accuracy, and how many rollout steps it has."""

    run: str
    steps: int
    stays: tuple[Stay, ...]

    @property
    def graduates(self) -> list[Stay]:
        """Those that graduated, in the order in which they did."""
        done = [s for s in self.stays if s.graduated]
        return sorted(done, key=lambda s: (s.left or 0, s.entered, s.question))

    def within(self) -> list[tuple[int, float]]:
        """(steps since admission, share that had graduated by then [fraction]).

        Of the questions that so many steps could be seen of; the line ends where they are few.
        """
        shares = []
        for age in range(self.steps):
            seen = [s for s in self.stays if s.entered + age < self.steps]
            if len(seen) < FEWEST:
                break
            done = [s for s in seen if s.graduated and (s.left or 0) - s.entered <= age]
            shares.append((age, len(done) / len(seen)))
        return shares


def lives(connection: duckdb.DuckDBPyConnection, run_key: str, entry: float) -> Lives:
    """The stays of `run_key` that began at `entry` [fraction]; UserError if there are none."""
    events = typed(
        EventRow,
        records(
            connection,
            "SELECT question_id, entry_step, step, event, accuracy FROM buffer_events "
            "WHERE run_key = ? AND abs(entry_accuracy - ?) < 1e-6 "
            "ORDER BY entry_step, question_id, step",
            [run_key, entry],
        ),
    )
    if not events:
        raise UserError(
            f"no question of {run_key!r} entered the buffer at {100 * entry:g} %; `zppo runs` "
            "lists the runs, and --entry takes another accuracy"
        )
    reformulated = typed(
        ReformulatedRow,
        records(
            connection,
            "SELECT question_id, step, kind, accuracy FROM groups "
            "WHERE run_key = ? AND kind NOT IN ('plain', 'replay') ORDER BY step, kind",
            [run_key],
        ),
    )
    by_question: dict[str, list[tuple[int, str, float]]] = {}
    for row in sorted(reformulated, key=lambda r: (r["step"], kind_order(r["kind"]))):
        at = row["step"], row["kind"], row["accuracy"]
        by_question.setdefault(row["question_id"], []).append(at)
    by_stay: dict[tuple[int, str], list[EventRow]] = {}
    for event in events:
        by_stay.setdefault((event["entry_step"], event["question_id"]), []).append(event)
    steps = connection.execute(
        "SELECT max(step) + 1 FROM steps WHERE run_key = ?", [run_key]
    ).fetchone()
    assert steps is not None
    return Lives(
        run_key,
        int(steps[0]),
        tuple(_stay(rows, by_question.get(name, [])) for (_, name), rows in by_stay.items()),
    )


def _stay(rows: Sequence[EventRow], reformulated: Sequence[tuple[int, str, float]]) -> Stay:
    # by the event: a question may be evicted in the step that admits it
    ends = [r for r in rows if r["event"] in ("graduate", "evict")]
    left = ends[0]["step"] if ends else None
    end = float("inf") if left is None else left
    return Stay(
        rows[0]["question_id"],
        rows[0]["entry_step"],
        tuple((r["step"], r["accuracy"]) for r in rows if r["accuracy"] is not None),
        left,
        bool(ends) and ends[0]["event"] == "graduate",
        tuple(m for m in reformulated if rows[0]["entry_step"] <= m[0] <= end),
    )


def text(shown: Sequence[Lives]) -> str:
    """A row a run, as Markdown: what became of its questions, and how long graduates took."""
    rows = []
    for run in shown:
        done = run.graduates
        took = [(s.left or 0) - s.entered for s in done]
        others = [s for s in run.stays if not s.graduated]
        rows.append(
            [
                f"`{run.run}`",
                str(len(run.stays)),
                str(len(done)),
                number(100 * len(done) / len(run.stays)),
                number(median(took)) if took else MISSING,
                number(median(len(s.asked) for s in done)) if done else MISSING,
                helped(done),
                helped(others),
            ]
        )
    heads = [
        "run",
        "admitted",
        "graduated",
        "%",
        "steps",
        "askings",
        "graduates right beside",
        "others right beside",
    ]
    return table(heads, rows, "markdown")


def helped(stays: Sequence[Stay]) -> str:
    """Of those that were asked with candidates how many had a right rollout beside them."""
    asked = [s for s in stays if s.reformulated]
    right = [s for s in asked if any(accuracy > 0 for *_, accuracy in s.reformulated)]
    return f"{len(right)} of {len(asked)}"


def draw(shown: Sequence[Lives]) -> Figure:
    """A panel of graduates for each run, then how many had graduated by age."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    count = len(shown) + 1
    down = -(-count // 2)
    figure, grid = plt.subplots(
        down, 2, figsize=(10, 5 * down), squeeze=False, layout="constrained"
    )
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.remove()
    last = axes[count - 1]
    names = short([run.run for run in shown])
    for i, (axis, run, name) in enumerate(zip(axes, shown, names, strict=False)):
        _graduates(axis, run, name)
        points = run.within()
        ages, shares = [age for age, _ in points], [100 * share for _, share in points]
        last.plot(ages, shares, label=name, color=colour_of(name, i))
    last.set_title("graduated, of all that were admitted", fontsize=10)
    last.set_xlabel("rollout steps since admission")
    last.set_ylabel("%")
    last.set_ylim(bottom=0)
    last.spines[["top", "right"]].set_visible(False)
    last.legend(fontsize=8, frameon=False)
    return figure


def short(runs: Sequence[str]) -> list[str]:
    """Names without the parts that all begin with: `zone-zone-zppo-s1` as `zppo-s1`."""
    parts = [run.split("-") for run in runs]
    same = 0
    while len(runs) > 1 and len({tuple(p[: same + 1]) for p in parts}) == 1:
        same += 1
    return ["-".join(p[same:]) for p in parts]


def sample(graduates: Sequence[Stay]) -> list[Stay]:
    """At most `MOST` of them, evenly from first to last."""
    if len(graduates) <= MOST:
        return list(graduates)
    return [graduates[i * (len(graduates) - 1) // (MOST - 1)] for i in range(MOST)]


def _graduates(axis: Axes, run: Lives, name: str) -> None:
    from matplotlib import colormaps

    done = run.graduates
    chosen = sample(done)
    shade = colormaps["YlGn"]
    kinds: dict[str, str] = {}
    for place, stay in enumerate(chosen):
        axis.plot([stay.entered + 1, (stay.left or 0) + 1], [place, place], color="#cccccc", lw=0.8)
        for step, accuracy in stay.asked:
            axis.scatter(
                step + 1,
                place,
                s=26,
                color=shade(accuracy),
                marker="s",
                linewidth=0.4,
                edgecolor="#666666",
                zorder=2,
            )
        marks: dict[int, int] = {}
        for step, kind, right in stay.reformulated:
            kinds.setdefault(kind, colour_of(kind, len(kinds)))
            beside = 0.22 * marks.get(step, 0)
            marks[step] = marks.get(step, 0) + 1
            axis.scatter(
                step + 0.9 + beside,
                place + 0.42,
                s=9,
                color=kinds[kind] if right > 0 else "none",
                marker="^",
                linewidth=0.6,
                edgecolor=kinds[kind],
                zorder=3,
            )
    for kind in sorted(kinds, key=kind_order):
        axis.scatter([], [], marker="^", s=14, color=kinds[kind], label=f"{kind}, some right")
    axis.set_title(f"{name}: {len(chosen)} of {len(done)} graduates", fontsize=10)
    axis.set_xlim(0.3, run.steps + 0.7)
    axis.set_ylim(max(len(chosen), MOST // 2), -1)
    axis.set_xlabel("rollout step")
    axis.set_yticks([])
    axis.spines[["top", "right", "left"]].set_visible(False)
    if kinds:
        axis.legend(fontsize=7, frameon=False, loc="lower left")


def rows_of(database: str | Path, runs: Sequence[str], entry: float) -> list[Lives]:
    """The lives of each run, in the order in which they were named."""
    with open_database(database) as connection:
        return [lives(connection, run, entry) for run in runs]


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo life`; 0, or 2 with a line for each fault."""
    reader = command("life", __doc__ or "", "zppo life first --out results/life.svg")
    reader.add_argument("runs", nargs="+", metavar="RUN")
    reader.add_argument("--entry", type=float, default=0.0, help="percent at admission; default: 0")
    reader.add_argument("--database", default=DEFAULT_DATABASE)
    reader.add_argument("--out", type=Path, help="picture, SVG or PNG")
    options = reader.parse_args(arguments)
    shown = rows_of(options.database, options.runs, options.entry / 100)
    if options.out:
        save(draw(shown), options.out)
        print(options.out)
    print(text(shown), end="")
    return 0
