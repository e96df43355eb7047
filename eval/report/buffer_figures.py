"""Figures 4, 20, 21, 23 and 24: the prompt replay buffer, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

from eval.report.plot import Beside, Panel, Points, series_of
from eval.report.published import numbers
from eval.report.rows import typed
from eval.report.selection import Results

REPLAYED = ("zppo", "grpo_replay")  # the methods of the paper's buffer figures
FATES = ("graduate", "evict", "held")
OFTEN = 6  # visits from which the paper counts "6 or more resample attempts"


class Stays(TypedDict):
    """How many stays in the buffer had one fate, by method, accuracy at admission and visits."""

    method: str
    entry_bin: float
    visits: int
    fate: str
    n: int


class Runs(TypedDict):
    method: str
    n: int


class Taken(TypedDict):
    taken: int


Rows = Sequence[Stays]


def _sum(rows: Rows, fate: str = "", bin_: float | None = None, visits: int = 0) -> float:
    return sum(
        r["n"]
        for r in rows
        if fate in ("", r["fate"]) and bin_ in (None, r["entry_bin"]) and r["visits"] >= visits
    )


def _share(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def _completed(rows: Rows, visits: int = 0) -> float:
    """Stays that ended: graduated or evicted."""
    return _sum(rows, "graduate", None, visits) + _sum(rows, "evict", None, visits)


# quantity of graduation.csv -> (words, our value from stays and the number of runs)
QUANTITIES: dict[str, tuple[str, Callable[[Rows, float | None, int], float | None]]] = {
    "admitted": ("admitted", lambda rows, b, n: _sum(rows, "", b) / n),
    "graduated": ("graduated", lambda rows, b, n: _sum(rows, "graduate", b) / n),
    "evicted": ("evicted", lambda rows, b, n: _sum(rows, "evict", b) / n),
    "graduated_over_admitted": (
        "graduated of admitted",
        lambda rows, b, n: _share(_sum(rows, "graduate", b), _sum(rows, "", b)),
    ),
    "share_of_all_graduates": (
        "share of all graduates",
        lambda rows, b, n: _share(_sum(rows, "graduate", b), _sum(rows, "graduate")),
    ),
    "graduated_over_completed": (
        "graduated of graduated and evicted",
        lambda rows, b, n: _share(_sum(rows, "graduate"), _completed(rows)),
    ),
    "evicted_over_completed": (
        "evicted of graduated and evicted",
        lambda rows, b, n: _share(_sum(rows, "evict"), _completed(rows)),
    ),
    "graduated_share_at_6_or_more_resample_attempts": (
        f"graduated of graduated and evicted, asked again {OFTEN} times or more",
        lambda rows, b, n: _share(_sum(rows, "graduate", None, OFTEN), _completed(rows, OFTEN)),
    ),
}


def _beside(results: Results, figure: int, scale: str) -> tuple[Beside, ...]:
    """Every number that the paper gives for `figure` at `scale`; counts of ours are per run."""
    pairs: list[Beside] = []
    printed = numbers(figure, scale)
    if not printed:
        return ()
    stays = results.at(
        scale, "method, entry_bin, visits, fate, count(*) AS n", "buffer_entries", "GROUP BY ALL"
    )
    rows = typed(Stays, stays)
    runs = _runs(results, scale)
    for p in printed:
        method, quantity, at = p["method"], p["quantity"], p["entry_accuracy_percent"]
        of_method = [r for r in rows if r["method"] == method]
        if quantity == "rollout_step_when_buffer_full":
            words, value = "rollout steps until the buffer was full", _full(results, scale, method)
        elif quantity in QUANTITIES:
            words, value_of = QUANTITIES[quantity]
            bin_ = None if at == "all" else float(at)
            value = value_of(of_method, bin_, runs[method]) if of_method else None
        else:
            continue
        where = "" if at == "all" else f", admitted at {at} %"
        unit = {"percent": " %", "pp": " points"}.get(p["unit"], "")
        pairs.append(
            Beside(f"{scale} {method}{where}: {words}", value, float(p["value"]), unit, p["status"])
        )
    return tuple(pairs)


def _runs(results: Results, scale: str) -> dict[str, int]:
    """method -> runs that are shown."""
    rows = results.at(scale, "run_settings.method, count(*) AS n", "runs", "GROUP BY ALL")
    return {r["method"]: r["n"] for r in typed(Runs, rows)}


def _full(results: Results, scale: str, method: str) -> float | None:
    """Rollout steps until the buffer held its capacity, mean of the runs; None if none did."""
    full = f"AND method = '{method}' AND buffer_size >= capacity GROUP BY run_key"
    rows = typed(Taken, results.at(scale, "run_key, min(step) + 1 AS taken", "steps", full))
    return sum(r["taken"] for r in rows) / len(rows) if rows else None


def graduated(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 4: share of admitted questions that graduated, by accuracy at admission.

    Every method with a buffer, those of the paper first.
    """
    panels = []
    for scale in scales:
        rows = results.at(
            scale,
            "method, entry_bin, 100 * sum(graduated) / sum(admitted) AS share",
            "graduation",
            "GROUP BY ALL ORDER BY method, entry_bin",
        )
        paper: dict[str, Points] = {}
        for method in REPLAYED:
            points = [
                (float(r["entry_accuracy_percent"]), float(r["value"]))
                for r in numbers(4, scale)
                if (r["method"], r["quantity"]) == (method, "graduated_over_admitted")
            ]
            if points:
                paper[method] = (tuple(x for x, _ in points), tuple(y for _, y in points))
        by_method = series_of(rows, "method", "entry_bin", "share")
        series = {m: by_method[m] for m in (*REPLAYED, *by_method) if m in by_method}
        panels.append(
            Panel(
                scale,
                "accuracy at admission, %",
                "graduated of admitted, %",
                "bar",
                series,
                paper,
                beside=_beside(results, 4, scale),
            )
        )
    return panels


def occupancy(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 20: what the buffer holds, by accuracy at admission."""
    return _layers(results, scales, 20, "held", "questions in the buffer")


def graduates(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 21: graduates so far, by accuracy at admission."""
    return _layers(results, scales, 21, "graduated", "graduates so far")


def _layers(
    results: Results, scales: Sequence[str], figure: int, column: str, y: str
) -> list[Panel]:
    panels = []
    for scale in scales:
        rows = results.at(
            scale,
            f"step, format('{{:g}} %', entry_bin) AS bin, avg({column}) AS n",
            "graduation_steps",
            "AND method = 'zppo' GROUP BY step, entry_bin ORDER BY entry_bin, step",
        )
        series = series_of(rows, "bin", "step", "n")
        # of the lowest layer alone the height is its own: the paper's hardest questions
        key = ("graduated", "0")
        printed = [
            float(r["value"])
            for r in numbers(figure, scale)
            if (r["quantity"], r["entry_accuracy_percent"]) == key
        ]
        paper: dict[str, Points] = {}
        if printed and "0 %" in series:
            paper["0 %"] = (series["0 %"][0][-1:], printed)
        panels.append(
            Panel(
                scale,
                "rollout step",
                y,
                "area",
                series,
                paper,
                beside=_beside(results, figure, scale),
            )
        )
    return panels


def fates(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 23: graduated and evicted so far, ZPPO and GRPO with replay."""
    panels = []
    for scale in scales:
        series: dict[str, Points] = {}
        for fate in ("graduated", "evicted"):
            rows = results.at(
                scale,
                f"method || ', {fate}' AS name, step, sum({fate}) / count(DISTINCT run_key) AS n",
                "graduation_steps",
                "AND method IN ('zppo', 'grpo_replay') GROUP BY method, step "
                "ORDER BY method DESC, step",
            )
            series |= series_of(rows, "name", "step", "n")
        printed = {
            f"{r['method']}, {r['quantity']}": float(r["value"])
            for r in numbers(23, scale)
            if r["unit"] == "entries"
        }
        paper = {
            name: ((series[name][0][-1],), (n,)) for name, n in printed.items() if name in series
        }
        panels.append(
            Panel(
                scale,
                "rollout step",
                "questions so far",
                "line",
                series,
                paper,
                beside=_beside(results, 23, scale),
            )
        )
    return panels


def revisits(results: Results, scales: Sequence[str]) -> list[Panel]:
    """Fig. 24: what became of the hardest questions, by how often they were asked again.

    ZPPO and GRPO with replay, admitted at 0 and at 12.5 %.
    """
    panels = []
    for scale in scales:
        stays = results.at(
            scale,
            f"method, entry_bin, fate, least(visits, {OFTEN}) AS visits, count(*) AS n",
            "buffer_entries",
            "AND entry_bin IN (0, 12.5) GROUP BY ALL ORDER BY visits, fate",
        )
        pairs = _beside(results, 24, scale)
        runs = _runs(results, scale)
        rows = typed(Stays, stays)
        for method in REPLAYED:
            for bin_ in (0.0, 12.5):
                of_method = [
                    {
                        "fate": r["fate"],
                        "times": f"{r['visits']}{'+' if r['visits'] == OFTEN else ''}",
                        "n": r["n"] / runs[method],
                    }
                    for r in rows
                    if (r["method"], r["entry_bin"]) == (method, bin_)
                ]
                if of_method:
                    title = f"{scale}: {method}, admitted at {bin_:g} %"
                    by_fate = series_of(of_method, "fate", "times", "n")
                    series = {fate: by_fate[fate] for fate in FATES if fate in by_fate}
                    panels.append(
                        Panel(
                            title,
                            "times asked again",
                            "questions a run",
                            "bar",
                            series,
                            beside=pairs,
                        )
                    )
    return panels
