"""Charts as inline SVG: no library, no script, and never wider or narrower than their place.

An SVG has a fixed viewBox of about a phone's width and fills its cell, so that its words can be
read at 390 px and at 1440 px. Decision 0042 says why this and not Vega.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from eval.report.palette import colour_of

WIDTH, HEIGHT = 380, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 8, 30
PLOT_W, PLOT_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
MOST_BINS = 60  # columns of a stacked chart, and places of a line chart that say their values
MOST_POINTS = 600  # of a line: longer ones are averaged
LONGEST = 20  # letters of a row's name
DOTTED = 40  # a line of so few points shows each

Points = Sequence[tuple[int, float]]
Series = Mapping[str, Points]
Format = Callable[[float], str]


def percent(value: float) -> str:
    """A fraction as "43 %"; below 10 % with one digit."""
    shown = 100 * value
    digits = 1 if 0 < abs(shown) < 9.95 and abs(shown - round(shown)) > 0.05 else 0
    return f"{shown:.{digits}f} %"


def plain(value: float) -> str:
    """A number of about three digits: 12.3k, 0.0042, 5."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if 0 < size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.3g}" if size < 1000 else f"{value:,.0f}"


def precise(value: float) -> str:
    """A number near 1 with four digits behind the point."""
    return f"{value:.4f}"


def seconds(value: float) -> str:
    """Wall time [s] in words: 8.2 s, 3 min, 2.5 h."""
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 5400 else f"{value / 3600:.1f} h"


@dataclass(frozen=True)
class Scale:
    """The y axis: from `low` to `high` with a line at each tick."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def label(self, tick: float, form: Format) -> str:
        """A tick as text, with digits enough to tell it from its neighbours."""
        factor = 100.0 if form is percent else 1.0
        unit = factor * (self.ticks[1] - self.ticks[0])
        if form is seconds or not 1e-4 <= unit < 1000:
            return form(tick)
        digits = next(d for d in range(6) if abs(unit * 10**d - round(unit * 10**d)) < 1e-6)
        return f"{factor * tick:.{digits}f}{' %' if form is percent else ''}"

    def y(self, value: float) -> float:
        """Where a value stands, from the top [units of the viewBox]."""
        return TOP + PLOT_H * (1 - (value - self.low) / (self.high - self.low))


def scale_of(values: Sequence[float], zero: bool, whole: tuple[float, float] | None) -> Scale:
    """A scale that holds the values, begins at 0 if it can, and has round ticks."""
    if whole is not None:
        low, high = whole
    else:
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if zero and low >= 0:
            low = 0.0
    if high - low < 1e-12:
        low, high = (0.0, high * 1.25) if high > 0 else (low - 1, high + 1)
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    unit = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / unit + 1e-9), math.ceil(high / unit - 1e-9)
    ticks = tuple(i * unit for i in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def step_ticks(first: int, last: int, most: int = 8) -> list[int]:
    """Whole steps to label, the first one included: 1, 10, 20 ..."""
    if last - first < most:
        return list(range(first, last + 1))
    raw = (last - first) / (most - 1)
    power = 10 ** int(math.log10(raw))
    unit = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    later = [i for i in range(unit, last + 1, unit) if i - first >= unit / 2]
    return [first, *later]


def lines(
    title: str,
    series: Series,
    form: Format = plain,
    whole: tuple[float, float] | None = None,
    zero: bool = True,
    note: str = "",
    last_step: int = 0,
) -> str:
    """A line for each series over rollout steps; its newest value stands in the legend.

    `whole` fixes the y axis, `zero` begins it at 0 where nothing is below. `last_step` makes all
    charts of a page as long as the longest.
    """
    kept = {name: _thinned(points) for name, points in series.items() if points}
    if not kept:
        return empty(title, note)
    steps = sorted({x for points in kept.values() for x, _ in points})
    first, last = steps[0], max(steps[-1], last_step)
    scale = scale_of([y for points in kept.values() for _, y in points], zero, whole)

    def x_of(step: float) -> float:
        return LEFT + PLOT_W * ((step - first) / (last - first) if last > first else 0.5)

    marks = []
    for place, (name, points) in enumerate(kept.items()):
        colour = colour_of(name, place)
        at = [(x_of(x), scale.y(y)) for x, y in points]
        if len(at) > 1:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
            marks.append(f'<path class="mark" d="M{path}" stroke="{colour}"/>')
        if len(at) <= DOTTED:
            marks += [
                f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>'
                for x, y in at
            ]
    told = _told(kept, steps, x_of, form)
    legend = [
        (name, colour_of(name, i), form(p[-1][1])) for i, (name, p) in enumerate(kept.items())
    ]
    body = _axes(scale, form, step_ticks(first, last), x_of) + "".join(marks) + told
    return figure(title, body, legend, note)


def stacked(
    title: str,
    series: Series,
    form: Format = plain,
    note: str = "",
    shades: str = "",
) -> str:
    """A column for each rollout step, or for a few, stacked by series in order.

    `shades` is a colour whose depths tell the series apart, for series that have an order.
    """
    kept = {name: dict(points) for name, points in series.items() if points}
    steps = sorted({x for points in kept.values() for x in points})
    if not steps:
        return empty(title, note)
    width = -(-len(steps) // MOST_BINS)
    bins = [steps[i : i + width] for i in range(0, len(steps), width)]
    heights = {
        name: [sum(points.get(x, 0.0) for x in steps_of) / len(steps_of) for steps_of in bins]
        for name, points in kept.items()
    }
    scale = scale_of([sum(column) for column in zip(*heights.values(), strict=True)], True, None)
    each = PLOT_W / max(len(bins), 3)

    def x_of(step: float) -> float:
        place = (step - steps[0]) / width
        return LEFT + each * (place + 0.5)

    looks = {
        name: (shades, 0.3 + 0.7 * (i + 1) / len(kept)) if shades else (colour_of(name, i), 1.0)
        for i, name in enumerate(kept)
    }
    marks = []
    for i, steps_of in enumerate(bins):
        below = 0.0
        for name, values in heights.items():
            top, bottom = scale.y(below + values[i]), scale.y(below)
            below += values[i]
            if bottom - top < 0.05:
                continue
            colour, depth = looks[name]
            marks.append(
                f'<rect class="mark" x="{LEFT + each * i + each * 0.08:.1f}" y="{top:.1f}" '
                f'width="{each * 0.84:.1f}" height="{bottom - top:.1f}" fill="{colour}" '
                f'fill-opacity="{depth:.2f}"/>'
            )
        labels = [f"{name}: {form(values[i])}" for name, values in heights.items()]
        marks.append(_band(LEFT + each * i, each, _steps(steps_of), labels))
    legend = [(n, looks[n][0], form(heights[n][-1]), looks[n][1]) for n in kept]
    ticks = [x for x in step_ticks(steps[0], steps[-1]) if x_of(x) <= LEFT + PLOT_W]
    return figure(title, _axes(scale, form, ticks, x_of) + "".join(marks), legend, note)


@dataclass(frozen=True)
class Interval:
    """A score with the ends of its interval, of one series in one row of a chart."""

    row: str
    series: str
    score: float
    low: float | None
    high: float | None


def intervals(title: str, values: Sequence[Interval], form: Format = percent) -> str:
    """Scores as dots with their intervals: a row for each `row`, a line of it for each series."""
    if not values:
        return empty(title)
    rows = list(dict.fromkeys(v.row for v in values))
    names = list(dict.fromkeys(v.series for v in values))
    longest = min(LONGEST, max(map(len, rows)))
    each, left = 11, 12 + round(6.3 * longest)
    tall = each * len(names) + 8
    height, width = tall * len(rows) + 26, WIDTH - left - 16
    marks = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * tick
        marks.append(f'<path class="grid" d="M{x:.1f} 4V{height - 20}"/>')
        marks.append(f'<text x="{x:.1f}" y="{height - 7}" text-anchor="middle">{form(tick)}</text>')
    for v in values:
        y = 6 + tall * rows.index(v.row) + each * names.index(v.series) + each / 2
        colour = colour_of(v.series, names.index(v.series))
        x = left + width * v.score
        label = f"{v.row or title}, {v.series}: {form(v.score)}"
        if v.low is not None and v.high is not None:
            a, b = left + width * v.low, left + width * v.high
            marks.append(f'<path class="mark" d="M{a:.1f} {y:.1f}H{b:.1f}" stroke="{colour}"/>')
            label += f", 95 %: {form(v.low)} to {form(v.high)}"
        marks.append(
            f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}">'
            f"<title>{escape(label)}</title></circle>"
        )
    for i, name in enumerate(rows):
        y = 6 + tall * i + tall / 2 - 1
        shown = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        marks.append(
            f'<text x="{left - 8}" y="{y:.1f}" text-anchor="end">{escape(shown)}'
            f"<title>{escape(name)}</title></text>"
        )
    legend = [(n, colour_of(n, i), "") for i, n in enumerate(names)]
    return figure(title, "".join(marks), legend, height=height)


def figure(
    title: str,
    body: str,
    legend: Sequence[tuple[str, str, str] | tuple[str, str, str, float]] = (),
    note: str = "",
    height: int = HEIGHT,
) -> str:
    """A chart's frame: title, note, picture, legend of (name, colour, newest value, depth)."""
    items = "".join(
        f'<span><i style="background:{entry[1]};opacity:{entry[3] if len(entry) > 3 else 1:.2f}">'
        f"</i>{escape(entry[0])}{f' <b>{escape(entry[2])}</b>' if entry[2] else ''}</span>"
        for entry in legend
    )
    caption = f"<small>{escape(note)}</small>" if note else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{caption}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{body}</svg>'
        f'<div class="legend">{items}</div></figure>'
    )


def empty(title: str, note: str = "") -> str:
    """The frame of a chart that has nothing to show yet."""
    body = f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">no value yet</text>'
    return figure(title, body, note=note)


def _thinned(points: Points) -> Points:
    """At most `MOST_POINTS` points, each the mean of its neighbours."""
    width = -(-len(points) // MOST_POINTS)
    if width <= 1:
        return points
    runs = [points[i : i + width] for i in range(0, len(points), width)]
    return [(p[-1][0], sum(y for _, y in p) / len(p)) for p in runs]


def _axes(scale: Scale, form: Format, ticks: Sequence[int], x_of: Callable[[float], float]) -> str:
    grid = "".join(
        f'<path class="grid" d="M{LEFT} {scale.y(t):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{scale.y(t) + 3.5:.1f}" text-anchor="end">'
        f"{scale.label(t, form)}</text>"
        for t in scale.ticks
    )
    below = "".join(
        f'<text x="{x_of(t):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{t}</text>' for t in ticks
    )
    name = f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">step</text>'
    return grid + below + name


def _band(x: float, width: float, head: str, labels: Sequence[str]) -> str:
    """An invisible column that says its values where a pointer rests."""
    text = escape("\n".join([head, *labels]))
    return (
        f'<rect class="band" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{PLOT_H}">'
        f"<title>{text}</title></rect>"
    )


def _steps(bins: Sequence[int]) -> str:
    return f"step {bins[0]}" if len(bins) == 1 else f"steps {bins[0]} to {bins[-1]}, mean"


def _told(
    series: Series, steps: Sequence[int], x_of: Callable[[float], float], form: Format
) -> str:
    """Columns that say the values of their step, at most `MOST_BINS` of them."""
    stride = -(-len(steps) // MOST_BINS)
    shown = steps[::stride]
    values = {name: dict(points) for name, points in series.items()}
    width = PLOT_W / max(len(shown), 2)
    return "".join(
        _band(
            max(LEFT, x_of(x) - width / 2),
            width,
            f"step {x}",
            [
                f"{name}: {form(of_series[x])}"
                for name, of_series in values.items()
                if x in of_series
            ],
        )
        for x in shown
    )
