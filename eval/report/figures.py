"""Figures 1, 4-7 and 20-25 of the paper from the result database.

zppo figures --figure 4 [--scale nano] [--run KEY | --variant ID]
                       [--out results/figures] [--format svg|png]

A figure is panels of series (`panels.py` draws them). Published numbers appear only as marked
points, or below the figure beside ours, and only at the paper's scales.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TypedDict

from eval.report.buffer_figures import REPLAYED, fates, graduated, graduates, occupancy, revisits
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.plot import Beside, Panel, Points, draw, notes_of, save, series_of
from eval.report.published import AVERAGE, numbers, published, scale_order
from eval.report.rows import Key, records, typed
from eval.report.selection import LISTED, Results
from eval.report.summary import FAMILIES
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported

GAINING = ("off_distill_replay", "on_distill_replay", "grpo_replay", "zppo")
DRAWN = ("zppo", "grpo_replay", "grpo")  # that the paper draws beside one another


def gains(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 1: family averages over the base, by method."""
    panels = []
    for scale in scales:
        series, paper = {}, {}
        for method in GAINING:
            values, printed = [], []
            for family in FAMILIES:
                keys = [(scale, family, m, AVERAGE) for m in (method, "base")]
                values.append(_gap([results.value(k) for k in keys]))
                printed.append(_gap([published().get(k) for k in keys]))
            if any(v == v for v in values):
                series[method] = (FAMILIES, tuple(values))
                if any(p == p for p in printed):
                    paper[method] = (FAMILIES, tuple(printed))
        panels.append(Panel(scale, "", "points over the base", "bar", series, paper))
    return panels


def _gap(pair: Sequence[float | str | None]) -> float:
    score, base = pair
    return float("nan") if score is None or base is None else float(score) - float(base)


class ShortOfScope(TypedDict):
    """Runs, and those of them that asked their teacher only what could enter."""

    runs: int
    short: int


def composition(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 5: what could be reformulated before the cap, and who gets a positive advantage."""
    panels = []
    for scale in scales:
        rows = results.at(
            scale,
            "step, 100 * avg(easy_share) AS easy, 100 * avg(bcq_share) AS BCQ, "
            "100 * avg(ncq_share) AS NCQ",
            "batch_composition",
            "AND method = 'zppo' GROUP BY step ORDER BY step",
        )
        shares = {
            name: series
            for key, name in (("easy", "easy"), ("BCQ", "BCQ possible"), ("NCQ", "NCQ possible"))
            for series in series_of([r | {"": ""} for r in rows], "", "step", key).values()
        }
        counts = results.at(
            scale,
            "count(*) AS runs, count(*) FILTER (teacher_scope IS DISTINCT FROM 'hard') AS short",
            "(SELECT DISTINCT run_key FROM steps)",
            "AND method = 'zppo'",
        )
        (count,) = typed(ShortOfScope, counts)
        note = (
            f"{scale}: 'BCQ possible' is too low: in {count['short']} of {count['runs']} runs the "
            "teacher was asked only for what could enter under the cap (not teacher.scope=hard)"
        )
        panels.append(
            Panel(
                f"{scale}: before the cap",
                "rollout step",
                "% of the questions asked",
                "line",
                shares,
                note=note if count["short"] else "",
            )
        )
        rows = results.at(
            scale,
            "method, step, 100 * avg(positive_share) AS share",
            "learning_signal",
            "GROUP BY ALL ORDER BY method, step",
        )
        panels.append(
            Panel(
                f"{scale}: positive advantage",
                "rollout step",
                "% of the rollouts",
                "line",
                _some(series_of(rows, "method", "step", "share")),
            )
        )
    return panels


def recipe(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 6: training accuracy under other numbers of updates and other norms, all else equal."""
    panels = []
    for scale in scales:
        shown: list[Panel] = []
        used: set[str] = set()
        for knob, alike in (
            ("updates", "by_update"),
            ("updates", "but_updates"),
            ("norm", "but_norm"),
        ):
            if any(p.title == f"{scale}: {knob}" for p in shown):
                continue  # I is varied as in the paper, with its new prompts
            keys = _differing(results, scale, alike)
            rows = records(
                results.connection,
                f"SELECT {knob} AS knob, step, 100 * avg(accuracy) AS accuracy FROM step_accuracy "
                "JOIN run_settings USING (run_key) WHERE kind = 'plain' AND list_contains(?, "
                "run_key) GROUP BY ALL ORDER BY knob, step",
                [keys],
            )
            series = series_of(rows, "knob", "step", "accuracy")
            if len(series) > 1:
                used |= set(keys)
                shown.append(
                    Panel(
                        f"{scale}: {knob}",
                        "rollout step",
                        "plain rollouts right, %",
                        "line",
                        series,
                    )
                )
        panels += [replace(p, note=_others(results, scale, used)) for p in shown]
    return panels


class Gain(TypedDict):
    """A run's gain over the base, mean of the families, in points."""

    teacher_model: str
    gain: float


def teacher_size(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 7: gain over the base, mean of the families, by the teacher, all else equal."""
    panels = []
    for scale in scales:
        keys = _differing(results, scale, "but_teacher")
        gained = records(
            results.connection,
            "WITH gains AS (SELECT run_key, family, max(average) FILTER (role = 'student') "
            "- max(average) FILTER (role = 'base') AS gain FROM run_families "
            "WHERE list_contains(?, run_key) GROUP BY ALL) "
            "SELECT run_key, method, teacher_model, teacher_params, avg(gain) AS gain "
            "FROM gains JOIN run_settings USING (run_key) GROUP BY ALL "
            # a mean over fewer families is none of this figure's
            "HAVING count(gain) = (SELECT count(DISTINCT family) FROM gains) "
            "ORDER BY teacher_params, teacher_model, run_key",
            [keys],
        )
        rows = typed(Gain, gained)
        teachers = dict.fromkeys(r["teacher_model"] for r in rows)
        if len(teachers) < 2:
            continue
        means = [fmean(r["gain"] for r in rows if r["teacher_model"] == t) for t in teachers]
        notes = [_others(results, scale, set(keys))]
        if len(rows) < len(keys):
            notes.append(
                f"{scale}: {len(keys) - len(rows)} runs without a score in every family left out"
            )
        mean_of = dict(zip(teachers, means, strict=True))
        paper, pairs = _by_teacher(scale, mean_of)
        panels.append(
            Panel(
                scale,
                "teacher",
                "points over the base",
                "bar",
                {"zppo": (tuple(teachers), tuple(means))},
                paper,
                "; ".join(filter(None, notes)),
                pairs,
            )
        )
    return panels


def _by_teacher(
    scale: str,
    mean_of: Mapping[str, float],
) -> tuple[dict[str, Points], tuple[Beside, ...]]:
    """The paper's gains by teacher, under our name of the teacher where we have one of its size."""
    paper: dict[str, float] = {}
    pairs = []
    for row in numbers(7, scale):
        size, gain = row["quantity"].rpartition("_")[2], float(row["value"])
        sized = re.compile(rf"(?<![\d.]){re.escape(size)}\b")
        teacher = next(filter(sized.search, mean_of), size)
        paper[teacher] = gain
        what = f"{scale}, teacher of {size}"
        pairs.append(
            Beside(what, mean_of.get(teacher), gain, " points over the base", row["status"])
        )
    points: dict[str, Points] = {}
    if paper:
        points["zppo"] = (tuple(paper), tuple(paper.values()))
    return points, tuple(pairs)


def _differing(results: Results, scale: str, column: str) -> list[str]:
    """Runs of zppo that are the shown variant but for one knob (a column of run_settings)."""
    rows = records(
        results.connection,
        f"SELECT run_key FROM run_settings WHERE scale = ? AND method = 'zppo' "
        f"AND {column} IN (SELECT {column} FROM run_settings WHERE scale = ? AND variant = ?) "
        "ORDER BY run_key",
        [scale, scale, results.variants.get(scale)],
    )
    return [r["run_key"] for r in typed(Key, rows)]


def _others(results: Results, scale: str, used: set[str]) -> str:
    everything = records(
        results.connection,
        "SELECT run_key FROM run_settings WHERE scale = ? AND method = 'zppo'",
        [scale],
    )
    keys = sorted({r["run_key"] for r in typed(Key, everything)} - used)
    if not keys:
        return ""
    named = ", ".join(keys[:LISTED]) + (", ..." if len(keys) > LISTED else "")
    return (
        f"{scale}: {len(keys)} zppo runs that differ in something else left out (--run KEY, or "
        f"--variant ID): {named}"
    )


def accuracies(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 22: accuracy of plain, replayed and reformulated rollouts."""
    panels = []
    for scale in scales:
        rows = results.at(
            scale,
            "kind, step, 100 * avg(accuracy) AS accuracy",
            "step_accuracy",
            "AND method = 'zppo' GROUP BY ALL ORDER BY kind, step",
        )
        panels.append(
            Panel(
                scale,
                "rollout step",
                "rollouts right, %",
                "line",
                series_of(rows, "kind", "step", "accuracy"),
            )
        )
    return panels


COMPUTED = (
    "entropy is a mean over the tokens of groups with unequal rewards, which alone go through the "
    "model; loss is per token of all groups"
)


def optimisation(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 25: entropy and loss."""
    panels = []
    for scale in scales:
        for column, unit in (("entropy", "nats a token"), ("loss", "loss")):
            rows = results.at(
                scale,
                f"method, step, avg({column}) AS value",
                "step_updates",
                "GROUP BY ALL ORDER BY method, step",
            )
            series = _some(series_of(rows, "method", "step", "value"))
            panels.append(
                Panel(f"{scale}: {column}", "rollout step", unit, "line", series, note=COMPUTED)
            )
    return panels


def _some(series: Mapping[str, Points]) -> dict[str, Points]:
    """The methods that the paper draws beside one another."""
    return {m: series[m] for m in DRAWN if m in series}


@dataclass(frozen=True)
class Figure:
    """How a figure of the paper is made, of which methods, and of which runs if not of these."""

    make: Callable[[Results, Sequence[str]], list[Panel]]
    methods: tuple[str, ...] = ("zppo",)
    needs: str = ""


FIGURES = {
    1: Figure(gains, GAINING),
    4: Figure(graduated, REPLAYED),
    5: Figure(composition, DRAWN),
    6: Figure(recipe, needs="zppo with other values of optimizer.updates or advantage.norm"),
    7: Figure(teacher_size, needs="zppo with teachers of several sizes (--set teacher.model=...)"),
    20: Figure(occupancy),
    21: Figure(graduates),
    22: Figure(accuracies),
    23: Figure(fates, REPLAYED),
    24: Figure(revisits, REPLAYED),
    25: Figure(optimisation, DRAWN),
}


def panels_of(results: Results, number: int, scales: Sequence[str] = ()) -> list[Panel]:
    """The panels of figure `number`; UserError if there is no such figure, or no run for it."""
    if number not in FIGURES:
        raise UserError(f"no figure {number}; there are {', '.join(map(str, FIGURES))}")
    figure = FIGURES[number]
    results = results.of_methods(figure.methods)
    panels: list[Panel] = []
    for scale in list(scales) or sorted(results.variants, key=scale_order):
        panels += _first(results, figure, scale)
    if panels:
        return panels
    needed = figure.needs or " or ".join(figure.methods)
    seen = ", ".join(results.keys[:LISTED]) + (", ..." if len(results.keys) > LISTED else "")
    raise UserError(
        f"Figure {number} needs runs of {needed}; there are none"
        + (f" among {seen} (--run and --scale choose)" if seen else " in the database")
    )


def _first(results: Results, figure: Figure, scale: str) -> list[Panel]:
    """The panels of the first variant that gives any, with what it leaves out in their note."""
    for selected in results.alternatives(scale):
        panels = [p for p in figure.make(selected, [scale]) if p.series]
        if panels and figure.needs:  # these count for themselves what they leave out
            return panels
        if panels:
            notes = [panels[0].note, *selected.notes([scale])]
            return [replace(panels[0], note="; ".join(filter(None, notes))), *panels[1:]]
    return []


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command("figures", __doc__ or "", "zppo figures --figure 4")
    parser.add_argument("--figure", required=True, help=f"{', '.join(map(str, FIGURES))}, or all")
    parser.add_argument("--scale", action="append", default=[], help="may be repeated")
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        help="run key or its beginning: that run alone; may be repeated",
    )
    parser.add_argument("--variant", default="", help="another configuration than the most run one")
    parser.add_argument("--out", type=Path, default=Path("results/figures"))
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    o = parser.parse_args(arguments)
    everything = o.figure == "all"
    if not everything and not o.figure.isdecimal():
        raise UserError(f"--figure {o.figure}: a number, or all")
    with open_database(o.database) as connection:
        results = Results(connection, o.variant, o.run)
        for number in FIGURES if everything else [int(o.figure)]:
            try:
                panels = panels_of(results, number, o.scale)
            except UserError as fault:
                if not everything:
                    raise
                print(fault, file=sys.stderr)
                continue
            path = o.out / f"figure{number:02d}.{o.format}"
            save(draw(panels), path)
            print(path, *(f"  {note}" for note in notes_of(panels)), sep="\n")
    return 0
