"""Panels of series, and one small engine that draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Literal, SupportsFloat

from eval.report.palette import COLOURS, colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

STYLES = ("-", "--", ":", "-.")  # lines beyond the eighth have a colour twice, and another style
HATCHES = ("", "//", "xx", "..")
CROWDED = 6  # series from which a legend is small
X = float | str  # a number, or the name of a bar
Points = tuple[Sequence[X], Sequence[float]]
Kind = Literal["line", "bar", "area"]


@dataclass(frozen=True)
class Beside:
    """A number that the paper gives for a figure, and ours; None where we have none."""

    what: str
    value: float | None
    paper: float
    unit: str = ""
    status: str = "printed"  # printed, approximate, matched or inferred

    def __str__(self) -> str:
        measured = "–" if self.value is None else _short(self.value)
        status = "" if self.status == "printed" else f" ({self.status})"
        return f"{self.what}: {measured} / {_short(self.paper)}{self.unit}{status}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


@dataclass(frozen=True)
class Panel:
    """One pair of axes: named series (x, y), and published points of the same names.

    `beside` are published numbers that are no points, or whose own values are wanted. `note` says
    what the series leave out, or do not say.
    """

    title: str
    x: str
    y: str
    kind: Kind
    series: Mapping[str, Points]
    paper: Mapping[str, Points] = field(default_factory=dict)
    note: str = ""
    beside: tuple[Beside, ...] = ()


def series_of(rows: Sequence[Mapping[str, object]], name: str, x: str, y: str) -> dict[str, Points]:
    """Rows in order as one series for each value of `name`; missing values are left out."""
    series: dict[str, tuple[list[X], list[float]]] = {}
    for row in rows:
        at, height = row[x], row[y]
        if height is None:
            continue
        if not isinstance(at, (int, float, str)) or not isinstance(height, SupportsFloat):
            raise TypeError(f"{at!r}, {height!r} is no point")
        xs, ys = series.setdefault(str(row[name]), ([], []))
        xs.append(at)
        ys.append(float(height))
    return {name: (tuple(xs), tuple(ys)) for name, (xs, ys) in series.items()}


def notes_of(panels: Sequence[Panel]) -> list[str]:
    """What the panels leave out or do not say, each once; then ours / published."""
    notes = list(dict.fromkeys(p.note for p in panels if p.note))
    pairs = list(dict.fromkeys(str(b) for p in panels for b in p.beside))
    return notes + ["ours / published: " + "; ".join(pairs)] * bool(pairs)


def draw(panels: Sequence[Panel]) -> Picture:
    """The panels side by side, three in a row."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    height = 4.0 if any(len(panel.series) > CROWDED for panel in panels) else 3.2
    figure, axes = plt.subplots(
        down, across, figsize=(4.6 * across, height * down), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, panel in zip(axes.flat, panels, strict=False):
        _draw(axis, panel)
    if notes := notes_of(panels):
        text = "\n".join(wrap("; ".join(notes), 78 * across))
        figure.supxlabel(text, fontsize=7, x=0.01, ha="left")
    return figure


def _look(name: str, i: int) -> tuple[str, int]:
    """The colour of series `i` of that name, and how often it was used before."""
    return colour_of(name, i), i // len(COLOURS)


def _draw(axis: Axes, panel: Panel) -> None:
    if panel.kind == "area":
        steps = sorted({x for places, _ in panel.series.values() for x in places})
        heights = [
            [dict(zip(*s, strict=True)).get(x, 0.0) for x in steps] for s in panel.series.values()
        ]
        looks = [_look(name, i) for i, name in enumerate(panel.series)]
        axis.stackplot(
            steps,
            heights,
            labels=list(panel.series),
            colors=[c for c, _ in looks],
            hatch=[HATCHES[n % len(HATCHES)] for _, n in looks],
        )
        _points(axis, panel)
    elif panel.kind == "bar":
        _bars(axis, panel)
    else:
        for i, (name, (xs, ys)) in enumerate(panel.series.items()):
            colour, again = _look(name, i)
            style = STYLES[again % len(STYLES)]
            axis.plot(xs, ys, label=name, color=colour, linestyle=style, linewidth=1.6)
        _points(axis, panel)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.x)
    axis.set_ylabel(panel.y)
    axis.spines[["top", "right"]].set_visible(False)
    if len(panel.series) > CROWDED:  # beside so many lines no corner is free
        below = (0.5, -0.2)
        axis.legend(fontsize=7, ncols=2, frameon=False, loc="upper center", bbox_to_anchor=below)
    else:
        axis.legend(fontsize=8, frameon=False)


def _points(axis: Axes, panel: Panel) -> None:
    """Published points over lines and areas, in the colour of their series."""
    names = list(panel.series)
    for n, (name, (xs, ys)) in enumerate(panel.paper.items()):
        colour = _look(name, names.index(name))[0] if name in names else "black"
        axis.plot(
            xs,
            ys,
            "D",
            color=colour,
            markersize=5,
            markerfacecolor="white",
            label=None if n else "published",
        )


def _bars(axis: Axes, panel: Panel) -> None:
    named = (*panel.series.values(), *(p for n, p in panel.paper.items() if n in panel.series))
    names = list(dict.fromkeys(x for xs, _ in named for x in xs))
    if all(isinstance(n, (int, float)) for n in names):
        names.sort()
    elif all(str(n)[:1].isdecimal() for n in names):
        names.sort(key=str)
    width, marked = 0.8 / len(panel.series), False
    for i, (name, (xs, ys)) in enumerate(panel.series.items()):
        shift = (i + 0.5) * width - 0.4
        colour, again = _look(name, i)
        axis.bar(
            [names.index(x) + shift for x in xs],
            ys,
            width,
            label=name,
            color=colour,
            hatch=HATCHES[again % len(HATCHES)],
        )
        if name in panel.paper:
            at, values = panel.paper[name]
            axis.plot(
                [names.index(x) + shift for x in at],
                values,
                "D",
                color="black",
                markersize=5,
                markerfacecolor="white",
                label=None if marked else "published",
            )
            marked = True
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(
        range(len(names)), [f"{n:g}" if isinstance(n, float) else str(n) for n in names]
    )


def save(figure: Picture, path: Path) -> None:
    """Write an SVG or PNG without a date, so that the same data gives the same file."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "zppo"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, None] = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=150, metadata=metadata)
    plt.close(figure)
