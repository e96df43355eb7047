"""Blocks that cards share. Markdown in a Metaflow card is not escaped: all model text goes
through `safe_text` first."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Protocol

from metaflow.cards import Markdown, MetaflowCardComponent


class Card(Protocol):
    """What is asked of Metaflow's `current.card[...]`."""

    def append(self, component: MetaflowCardComponent, /) -> object: ...
    def refresh(self) -> object: ...


# colour-blind safe (Okabe and Ito)
COLOURS = {
    "plain": "#0072B2",
    "replay": "#56B4E9",
    "bcq": "#E69F00",
    "ncq": "#D55E00",
    "hint": "#009E73",
    "prefix": "#CC79A7",
}


# what HTML or Markdown would act on, as entities
_INERT = str.maketrans({c: f"&#{ord(c)};" for c in "&<>\"'\\`*_{}[]()#+!|$~\n"})


def safe_text(text: str) -> str:
    """`text` as an HTML block in which nothing of it is markup and every line break stays."""
    style = "white-space:pre-wrap;font-family:monospace;font-size:0.85em;margin:0"
    return f'<div style="{style}">{text.translate(_INERT)}</div>'


def image_tags(images: Sequence[bytes], height: int = 48) -> str:
    """Our own encoded images as inline HTML; empty if there is none."""
    style = "height:{}px;margin-right:6px;image-rendering:pixelated"
    tag = f'<img style="{style}" src="data:{{}};base64,{{}}">'
    return "".join(
        tag.format(height, media_type(data), base64.b64encode(data).decode()) for data in images
    )


def media_type(image: bytes) -> str:
    return "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"


def line_chart(
    rows: Sequence[Mapping[str, object]],
    x: str,
    y: str,
    series: str,
    title: str,
    y_title: str,
    percent: bool = False,
) -> dict[str, object]:
    """A Vega-Lite chart: lines of `y` over `x`, one per value of `series`."""
    names = list(dict.fromkeys(str(r[series]) for r in rows))
    fallback = list(COLOURS.values())
    colours = [COLOURS.get(n, fallback[i % len(fallback)]) for i, n in enumerate(names)]
    axis = {"format": ".0%"} if percent else {}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": title,
        "width": "container",
        "height": 220,
        "data": {"values": [dict(r) for r in rows]},
        "mark": {"type": "line", "point": True, "tooltip": True},
        "encoding": {
            "x": {"field": x, "type": "quantitative", "title": "rollout step"},
            "y": {"field": y, "type": "quantitative", "title": y_title, "axis": axis},
            "color": {
                "field": series,
                "type": "nominal",
                "title": None,
                "scale": {"domain": names, "range": colours},
            },
        },
    }


def stacked_bars(
    rows: Sequence[Mapping[str, object]], x: str, y: str, series: str, title: str, y_title: str
) -> dict[str, object]:
    """A Vega-Lite chart: bars of `y` over `x`, stacked by `series` in order of appearance."""
    names = list(dict.fromkeys(str(r[series]) for r in rows))
    values = [{**r, "place": names.index(str(r[series]))} for r in rows]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": title,
        "width": "container",
        "height": 220,
        "data": {"values": values},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {"field": x, "type": "ordinal", "title": "rollout step"},
            "y": {"field": y, "type": "quantitative", "title": y_title, "stack": "zero"},
            "color": {
                "field": series,
                "type": "nominal",
                "title": None,
                "scale": {"domain": names, "range": list(COLOURS.values())},
            },
            "order": {"field": "place"},
        },
    }


def note(text: str) -> Markdown:
    """Our own words as Markdown; never pass model text here."""
    return Markdown(text)
