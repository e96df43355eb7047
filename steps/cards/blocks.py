"""Blocks that cards share, as HTML. Every value goes through `escape`, model text too."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

PLAIN_JSON = 60_000  # characters of JSON from which a page holds it compressed


def media_type(image: bytes) -> str:
    return "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"


def data_uri(image: bytes) -> str:
    """An encoded image as an address that holds it."""
    return f"data:{media_type(image)};base64,{base64.b64encode(image).decode()}"


def image_tags(images: Sequence[bytes]) -> str:
    """Our own encoded images as inline HTML; empty if there is none."""
    tags = "".join(f'<img alt="picture of the question" src="{data_uri(i)}">' for i in images)
    return f'<div class="pictures">{tags}</div>' if tags else ""


def head(title: str, subtitle: str = "") -> str:
    """The top of a card."""
    return f'<header class="top"><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>'


def heading(text: str, note: str = "") -> str:
    """A section's title, with a sentence under it."""
    return f"<h2>{escape(text)}</h2>" + (f'<p class="dim">{escape(note)}</p>' if note else "")


def preformatted(text: str) -> str:
    """Text as it was written, each line break kept."""
    return f"<pre>{escape(text)}</pre>"


@dataclass(frozen=True)
class Tile:
    """A number that is seen first: what it is, its value, a line under it."""

    name: str
    value: str
    note: str = ""


def tiles(values: Sequence[Tile]) -> str:
    """Numbers side by side."""
    cells = "".join(
        f'<div class="tile"><span>{escape(t.name)}</span><b>{escape(t.value)}</b>'
        f"<em>{escape(t.note)}</em></div>"
        for t in values
    )
    return f'<div class="tiles">{cells}</div>'


def bar(done: float, total: float) -> str:
    """A bar that is full at `total`."""
    share = 100 * min(1.0, done / total) if total else 0.0
    return f'<div class="bar" role="progressbar"><i style="width:{share:.1f}%"></i></div>'


def charts(drawn: Sequence[str]) -> str:
    """Charts in as many columns as the window has room for."""
    return f'<div class="charts">{"".join(drawn)}</div>'


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    raw: Sequence[int] = (),
    strong: str = "",
) -> str:
    """A table: the first `left` columns are words, the others numbers; `raw` ones are HTML.

    Rows that hold the word `strong` stand out.
    """

    def cell(tag: str, i: int, text: str) -> str:
        kind = "" if i < left or i in raw else ' class="n"'
        return f"<{tag}{kind}>{text if i in raw and tag == 'td' else escape(text)}</{tag}>"

    mark = ' class="strong"'
    top = "".join(cell("th", i, name) for i, name in enumerate(columns))
    body = "".join(
        f"<tr{mark if strong and strong in row else ''}>"
        f"{''.join(cell('td', i, text) for i, text in enumerate(row))}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def facts(values: Mapping[str, str], code: bool = False) -> str:
    """Names and values, one under the other; `code` shows values as one types them."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>"
        + (f"<code>{escape(value)}</code>" if code else escape(value))
        + "</dd>"
        for name, value in values.items()
    )
    return f'<dl class="panel">{rows}</dl>'


def alarm_list(sentences: Sequence[str], calm: str) -> str:
    """What is amiss, or that nothing is."""
    if not sentences:
        return f'<p class="calm">{escape(calm)}</p>'
    items = "".join(f"<li>{escape(text)}</li>" for text in sentences)
    return f'<div class="alarms" role="alert"><ul>{items}</ul></div>'


def tag(text: str, good: bool | None = None) -> str:
    """A short label; green or red where it is a verdict."""
    mood = "" if good is None else " good" if good else " bad"
    return f'<span class="tag{mood}">{escape(text)}</span>'


def json_script(identity: str, data: object) -> str:
    """`data` as JSON in a script element that no browser runs; compressed where it is long."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if len(text) <= PLAIN_JSON:
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return f'<script type="application/json" id="{escape(identity)}">{text}</script>'
    packed = base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()
    return (
        f'<script type="application/json" data-encoding="gzip" id="{escape(identity)}">'
        f"{packed}</script>"
    )
