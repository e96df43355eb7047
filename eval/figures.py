"""Figures 1, 4-7 and 20-25 of the paper from the result database.

python -m eval.figures --figure 4 [--scale nano] [--out results/figures] [--format svg|png]

A figure is panels of series (`panels.py` draws them). Published numbers appear only as marked
reference points, and only at the paper's scales.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.database import DEFAULT_DATABASE, open_database
from eval.panels import Panel, Points, draw, notes_of, save
from eval.paper_tables import AVERAGE, Ours, published, reference, scale_order
from eval.summary import FAMILIES, records
from zppo_core.errors import UserError


def _columns(rows: Sequence[Mapping[str, Any]], name: str, x: str, y: str) -> dict[str, Points]:
    """Rows in order as one series for each value of `name`; missing values are left out."""
    found: dict[str, tuple[list[Any], list[float]]] = {}
    for row in rows:
        if row[y] is not None:
            xs, ys = found.setdefault(str(row[name]), ([], []))
            xs.append(row[x])
            ys.append(float(row[y]))
    return {name: (tuple(xs), tuple(ys)) for name, (xs, ys) in found.items()}


def gains(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 1: family averages over the base, by method."""
    methods = ("off_distill_replay", "on_distill_replay", "grpo_replay", "zppo")
    panels = []
    for scale in scales:
        series, paper = {}, {}
        for method in methods:
            values, printed = [], []
            for family in FAMILIES:
                keys = [(scale, family, m, AVERAGE) for m in (method, "base")]
                values.append(_gap([ours.scores.get(k, {}).get("score") for k in keys]))
                printed.append(_gap([published().get(k) for k in keys]))
            if any(v == v for v in values):
                series[method] = (FAMILIES, tuple(values))
                if any(p == p for p in printed):
                    paper[method] = (FAMILIES, tuple(printed))
        panels.append(Panel(scale, "", "points over the base", "bar", series, paper))
    return panels


def _gap(pair: Sequence[Any]) -> float:
    return float("nan") if None in pair else float(pair[0]) - float(pair[1])


def graduated(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 4: share of admitted questions that graduated, by accuracy at admission."""
    panels = []
    for scale in scales:
        rows = _of(ours, scale, "method, entry_bin, 100 * sum(graduated) / sum(admitted) AS share",
                   "graduation", "GROUP BY ALL ORDER BY method, entry_bin")  # fmt: skip
        paper: dict[str, Points] = {}
        for method in ("zppo", "grpo_replay"):
            points = [
                (float(r["entry_accuracy_percent"]), float(r["value"]))
                for r in reference("graduation")
                if (r["figure"], r["scale"], r["method"], r["quantity"])
                == ("Fig. 4", scale, method, "graduated_over_admitted")
            ]
            if points:
                paper[method] = (tuple(x for x, _ in points), tuple(y for _, y in points))
        panels.append(Panel(scale, "accuracy at admission, %", "graduated of admitted, %", "bar",
                            _columns(rows, "method", "entry_bin", "share"), paper))  # fmt: skip
    return panels


def composition(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 5: what could be reformulated before the cap, and who gets a positive advantage."""
    panels = []
    for scale in scales:
        rows = _of(ours, scale, "step, 100 * avg(easy_share) AS easy, 100 * avg(bcq_share) AS BCQ, "
                   "100 * avg(ncq_share) AS NCQ", "batch_composition",
                   "AND method = 'zppo' GROUP BY step ORDER BY step")  # fmt: skip
        shares = {
            name: series
            for key, name in (("easy", "easy"), ("BCQ", "BCQ possible"), ("NCQ", "NCQ possible"))
            for series in _columns([r | {"": ""} for r in rows], "", "step", key).values()
        }
        (count,) = _of(ours, scale, "count(*) AS runs, count(*) FILTER "
                       "(teacher_scope IS DISTINCT FROM 'hard') AS short",
                       "(SELECT DISTINCT run_key FROM steps)", "AND method = 'zppo'")  # fmt: skip
        note = (
            f"{scale}: 'BCQ possible' is too low: in {count['short']} of {count['runs']} runs the "
            "teacher was asked only for what could enter under the cap (not teacher.scope=hard)"
        )
        panels.append(Panel(f"{scale}: before the cap", "rollout step", "% of the questions asked",
                            "line", shares, note=note if count["short"] else ""))  # fmt: skip
        rows = _of(ours, scale, "method, step, 100 * avg(positive_share) AS share",
                   "learning_signal", "GROUP BY ALL ORDER BY method, step")  # fmt: skip
        panels.append(Panel(f"{scale}: positive advantage", "rollout step", "% of the rollouts",
                            "line", _some(_columns(rows, "method", "step", "share"))))  # fmt: skip
    return panels


def recipe(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 6: training accuracy under other numbers of updates and other norms, all else equal."""
    panels = []
    for scale in scales:
        shown: list[Panel] = []
        used: set[str] = set()
        for knob, alike in (("updates", "by_update"), ("updates", "but_updates"),
                            ("norm", "but_norm")):  # fmt: skip
            if any(p.title == f"{scale}: {knob}" for p in shown):
                continue  # I is varied as in the paper, with its new prompts
            keys = _differing(ours, scale, alike)
            rows = records(
                ours.connection,
                f"SELECT {knob} AS knob, step, 100 * avg(accuracy) AS accuracy FROM step_accuracy "
                "JOIN run_settings USING (run_key) WHERE kind = 'plain' AND list_contains(?, "
                "run_key) GROUP BY ALL ORDER BY knob, step", [keys],
            )  # fmt: skip
            series = _columns(rows, "knob", "step", "accuracy")
            if len(series) > 1:
                used |= set(keys)
                shown.append(Panel(f"{scale}: {knob}", "rollout step", "plain rollouts right, %",
                                   "line", series))  # fmt: skip
        panels += [replace(p, note=_others(ours, scale, used)) for p in shown]
    return panels


def teacher_size(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 7: gain over the base, mean of the families, by the teacher, all else equal."""
    panels = []
    for scale in scales:
        keys = _differing(ours, scale, "but_teacher")
        rows = records(
            ours.connection,
            "WITH gains AS (SELECT run_key, family, max(average) FILTER (role = 'student') "
            "- max(average) FILTER (role = 'base') AS gain FROM run_families "
            "WHERE list_contains(?, run_key) GROUP BY ALL) "
            "SELECT run_key, method, teacher_model, teacher_params, avg(gain) AS gain "
            "FROM gains JOIN run_settings USING (run_key) GROUP BY ALL "
            # a mean over fewer families is none of this figure's
            "HAVING count(gain) = (SELECT count(DISTINCT family) FROM gains) "
            "ORDER BY teacher_params, teacher_model, run_key", [keys],
        )  # fmt: skip
        teachers = dict.fromkeys(r["teacher_model"] for r in rows)
        if len(teachers) < 2:
            continue
        means = [fmean(r["gain"] for r in rows if r["teacher_model"] == t) for t in teachers]
        notes = [_others(ours, scale, set(keys))]
        if len(rows) < len(keys):
            notes.append(f"{scale}: {len(keys) - len(rows)} runs without a score in every family "
                         "left out")  # fmt: skip
        panels.append(Panel(scale, "teacher", "points over the base", "bar",
                            {"zppo": (tuple(teachers), tuple(means))},
                            note="; ".join(filter(None, notes))))  # fmt: skip
    return panels


def _differing(ours: Ours, scale: str, column: str) -> list[str]:
    """Runs of zppo that are the shown variant but for one knob (a column of run_settings)."""
    rows = records(
        ours.connection, f"SELECT run_key FROM run_settings WHERE scale = ? AND method = 'zppo' "
        f"AND {column} IN (SELECT {column} FROM run_settings WHERE scale = ? AND variant = ?) "
        "ORDER BY run_key", [scale, scale, ours.variants.get(scale)],
    )  # fmt: skip
    return [r["run_key"] for r in rows]


def _others(ours: Ours, scale: str, used: set[str]) -> str:
    everything = records(
        ours.connection,
        "SELECT run_key FROM run_settings WHERE scale = ? AND method = 'zppo'", [scale],
    )  # fmt: skip
    n = len({r["run_key"] for r in everything} - used)
    return f"{scale}: {n} zppo runs that differ in something else left out (--variant)" if n else ""


def occupancy(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 20: what the buffer holds, by accuracy at admission."""
    return _layers(ours, scales, "held", "questions in the buffer")


def graduates(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 21: graduates so far, by accuracy at admission."""
    return _layers(ours, scales, "graduated", "graduates so far")


def _layers(ours: Ours, scales: Sequence[str], column: str, y: str) -> list[Panel]:
    panels = []
    for scale in scales:
        rows = _of(ours, scale, f"step, format('{{:g}} %', entry_bin) AS bin, avg({column}) AS n",
                   "graduation_steps", "AND method = 'zppo' GROUP BY step, entry_bin "
                   "ORDER BY entry_bin, step")  # fmt: skip
        series = _columns(rows, "bin", "step", "n")
        panels.append(Panel(scale, "rollout step", y, "area", series))
    return panels


def accuracies(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 22: accuracy of plain, replayed and reformulated rollouts."""
    panels = []
    for scale in scales:
        rows = _of(ours, scale, "kind, step, 100 * avg(accuracy) AS accuracy", "step_accuracy",
                   "AND method = 'zppo' GROUP BY ALL ORDER BY kind, step")  # fmt: skip
        panels.append(Panel(scale, "rollout step", "rollouts right, %", "line",
                            _columns(rows, "kind", "step", "accuracy")))  # fmt: skip
    return panels


def fates(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 23: graduated and evicted so far, ZPPO and GRPO with replay."""
    panels = []
    for scale in scales:
        series: dict[str, Points] = {}
        for fate in ("graduated", "evicted"):
            rows = _of(ours, scale, f"method || ', {fate}' AS name, step, "
                       f"sum({fate}) / count(DISTINCT run_key) AS n", "graduation_steps",
                       "AND method IN ('zppo', 'grpo_replay') GROUP BY method, step "
                       "ORDER BY method DESC, step")  # fmt: skip
            series |= _columns(rows, "name", "step", "n")
        panels.append(Panel(scale, "rollout step", "questions so far", "line", series))
    return panels


def revisits(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 24: what became of questions, by how often they were asked again."""
    panels = []
    for scale in scales:
        rows = _of(ours, scale, "fate, least(visits, 6) AS visits, count(*) AS n",
                   "buffer_entries",
                   "AND method = 'zppo' GROUP BY ALL ORDER BY visits, fate")  # fmt: skip
        names = [r | {"times": f"{r['visits']}{'+' if r['visits'] == 6 else ''}"} for r in rows]
        panels.append(Panel(scale, "times asked again", "questions", "bar",
                            _columns(names, "fate", "times", "n")))  # fmt: skip
    return panels


def optimisation(ours: Ours, scales: Sequence[str]) -> list[Panel]:
    """Fig. 25: entropy and loss."""
    panels = []
    for scale in scales:
        for column, unit in (("entropy", "nats a token"), ("loss", "loss")):
            rows = _of(ours, scale, f"method, step, avg({column}) AS value", "step_updates",
                       "GROUP BY ALL ORDER BY method, step")  # fmt: skip
            panels.append(Panel(f"{scale}: {column}", "rollout step", unit, "line",
                                _some(_columns(rows, "method", "step", "value"))))  # fmt: skip
    return panels


def _of(ours: Ours, scale: str, columns: str, view: str, rest: str) -> list[dict[str, Any]]:
    name = scale.replace("'", "''")
    return ours.select(
        columns, f"{view} JOIN run_settings USING (run_key)", f"AND scale = '{name}' {rest}"
    )


def _some(series: Mapping[str, Points]) -> dict[str, Points]:
    """The methods that the paper draws beside one another."""
    drawn = ("zppo", "grpo_replay", "grpo")
    return {m: series[m] for m in drawn if m in series}


FIGURES: dict[int, Callable[[Ours, Sequence[str]], list[Panel]]] = {
    1: gains, 4: graduated, 5: composition, 6: recipe, 7: teacher_size, 20: occupancy,
    21: graduates, 22: accuracies, 23: fates, 24: revisits, 25: optimisation,
}  # fmt: skip
NEEDS = {
    6: "zppo with other values of optimizer.updates or advantage.norm",
    7: "zppo with teachers of several sizes (--set teacher.model=...)",
}


def panels_of(ours: Ours, number: int, scales: Sequence[str] = ()) -> list[Panel]:
    """The panels of figure `number`; UserError if there is no such figure, or no run for it."""
    if number not in FIGURES:
        raise UserError(f"no figure {number}; there are {', '.join(map(str, FIGURES))}")
    chosen = list(scales) or sorted(ours.variants, key=scale_order)
    made = [p for p in FIGURES[number](ours, chosen) if p.series]
    if not made:
        needed = NEEDS.get(number, "zppo and grpo_replay")
        raise UserError(f"Figure {number} needs runs of {needed}; the database holds none")
    if number in NEEDS:  # these count for themselves what they leave out
        return made
    notes = [made[0].note, *ours.notes(chosen)]
    return [replace(made[0], note="; ".join(filter(None, notes))), *made[1:]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.figures", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--figure", required=True, help=f"{', '.join(map(str, FIGURES))}, or all")
    parser.add_argument("--scale", action="append", default=[], help="may be repeated")
    parser.add_argument("--variant", default="", help="another configuration than the most run one")
    parser.add_argument("--out", type=Path, default=Path("results/figures"))
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    o = parser.parse_args(arguments)
    everything = o.figure == "all"
    try:
        if not everything and not o.figure.isdecimal():
            raise UserError(f"--figure {o.figure}: a number, or all")
        with open_database(o.database) as connection:
            ours = Ours(connection, o.variant)
            for number in FIGURES if everything else [int(o.figure)]:
                try:
                    panels = panels_of(ours, number, o.scale)
                except UserError as fault:
                    if not everything:
                        raise
                    print(fault, file=sys.stderr)
                    continue
                path = o.out / f"figure{number:02d}.{o.format}"
                save(draw(panels), path)
                print(path, *(f"  {note}" for note in notes_of(panels)), sep="\n")
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
