"""Panels of series, and one small engine that draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

# Okabe and Ito's colours, which colour-blind readers tell apart
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
Points = tuple[Sequence[Any], Sequence[float]]
Kind = Literal["line", "bar", "area"]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: named series (x, y), and published points of the same names.

    `note` says what the series leave out, or do not say.
    """

    title: str
    x: str
    y: str
    kind: Kind
    series: Mapping[str, Points]
    paper: Mapping[str, Points] = field(default_factory=dict)
    note: str = ""


def notes_of(panels: Sequence[Panel]) -> list[str]:
    """What the panels leave out or do not say, each once."""
    return list(dict.fromkeys(p.note for p in panels if p.note))


def draw(panels: Sequence[Panel]) -> Picture:
    """The panels side by side, three in a row."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(4.6 * across, 3.2 * down), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, panel in zip(axes.flat, panels, strict=False):
        _draw(axis, panel)
    if notes := notes_of(panels):
        text = "\n".join(wrap("; ".join(notes), 78 * across))
        figure.supxlabel(text, fontsize=7, x=0.01, ha="left")
    return figure


def _draw(axis: Axes, panel: Panel) -> None:
    if panel.kind == "area":
        steps = sorted({x for own, _ in panel.series.values() for x in own})
        heights = [[dict(zip(*s, strict=True)).get(x, 0.0) for x in steps]
                   for s in panel.series.values()]  # fmt: skip
        axis.stackplot(steps, heights, labels=list(panel.series), colors=COLOURS)
    elif panel.kind == "bar":
        _bars(axis, panel)
    else:
        for (name, (xs, ys)), colour in zip(panel.series.items(), COLOURS, strict=False):
            axis.plot(xs, ys, label=name, color=colour, linewidth=1.6)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.x)
    axis.set_ylabel(panel.y)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)


def _bars(axis: Axes, panel: Panel) -> None:
    names = list(dict.fromkeys(x for xs, _ in panel.series.values() for x in xs))
    if all(isinstance(n, (int, float)) for n in names):
        names.sort()
    elif all(str(n)[:1].isdecimal() for n in names):
        names.sort(key=str)
    width = 0.8 / len(panel.series)
    for i, (name, (xs, ys)) in enumerate(panel.series.items()):
        shift = (i + 0.5) * width - 0.4
        axis.bar([names.index(x) + shift for x in xs], ys, width, label=name, color=COLOURS[i])
        if name in panel.paper:
            at, values = panel.paper[name]
            places = [names.index(x) + shift for x in at if x in names]
            axis.plot(places, [v for x, v in zip(at, values, strict=True) if x in names], "D",
                      color="black", markersize=5, markerfacecolor="white",
                      label=None if i else "published")  # fmt: skip
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
    metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=150, metadata=metadata)
    plt.close(figure)
