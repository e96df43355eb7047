"""Rows of strings, or cells of ours and the paper's, as text, Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tabulate

Format = Literal["text", "markdown", "csv", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
MISSING = "–"  # a value of ours that is not there; never filled from elsewhere
WIDTH = 118  # of rows of Markdown

_SIGNS = {
    MISSING: "--",
    "±": r"$\pm$",
    "τ": r"$\tau$",
    "Δ": r"$\Delta$",
    "†": r"$^\dagger$",
    "−": "$-$",
}
tabulate.MIN_PADDING = 0  # the library's own switch: a header is no wider than its words
_LAYOUT = {"text": "simple", "markdown": "pipe", "latex": "latex_raw"}


def _latex(text: str) -> str:
    return "".join(_SIGNS.get(c) or tabulate.LATEX_ESCAPE_RULES.get(c, c) for c in text)


def _markdown(text: str) -> str:
    # a pipe would end the cell, and angle brackets would be markup where HTML is allowed
    for plain, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), (">", "&gt;"), ("\n", " ")):
        text = text.replace(plain, safe)
    return text


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], form: Format = "text", left: int = 1
) -> str:
    """The table with its first `left` columns left-aligned and the others right-aligned.

    Raises ValueError if a row has not as many cells as there are columns, or on an unknown form.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"{len(row)} cells for {len(columns)} columns: {list(row)}")
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([columns, *rows])
        return out.getvalue()
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}: one of {', '.join(FORMATS)}")
    dress = {"markdown": _markdown, "latex": _latex}.get(form, str)
    text = tabulate.tabulate(
        # LaTeX's columns are those of its rows: an empty one stands for none
        [[dress(cell) for cell in row] for row in rows or [[""] * len(columns)]],
        [dress(column) for column in columns],
        tablefmt=_LAYOUT[form],
        colalign=["left"] * left + ["right"] * (len(columns) - left),
        disable_numparse=True,
        preserve_whitespace=True,
    )
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def number(value: float | None, digits: int = 1) -> str:
    """A value with fixed decimals, or the mark of a missing one."""
    return MISSING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """The same with its sign; what rounds to nothing is +0."""
    return MISSING if value is None else f"{round(value, digits) + 0.0:+.{digits}f}"


def scientific(value: float | None) -> str:
    """Two significant digits, as the paper prints FLOPs."""
    return MISSING if value is None else f"{value:.1e}".replace("e+", "e")


def duration(seconds: float | None) -> str:
    """Seconds as people read them: 8.2 s, 3 min 20 s, 61 h 5 min."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Cell:
    """Our value and the published one, as text; None where there is none."""

    value: str | None = None
    paper: str | None = None

    def __str__(self) -> str:
        """ "ours / paper", or ours alone where the paper has no such cell."""
        shown = self.value or MISSING
        return shown if self.paper is None else f"{shown} / {self.paper}"


@dataclass(frozen=True)
class Block:
    """One table as it is shown: labels and cells of each row under `columns`."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Sequence[tuple[tuple[str, ...], Sequence[Cell]]]
    note: str = ""
    where: tuple[tuple[str, str], ...] = ()  # what all its rows share: a table, scale, family


def render(block: Block, form: Format = "text") -> str:
    """The block as text, Markdown, CSV (see `render_all`) or LaTeX."""
    if form == "csv":
        return render_all([block], form)
    rows = [[*labels, *map(str, cells)] for labels, cells in block.rows]
    body = table([*block.labels, *block.columns], rows, form, left=len(block.labels))
    both = any(cell.paper is not None for _, cells in block.rows for cell in cells)
    title = f"{block.title}{' (ours / paper)' if both else ''}"
    return f"{'% ' if form == 'latex' else ''}{title}\n\n{body}{_line(block.note, form)}"


def render_all(blocks: Sequence[Block], form: Format = "text") -> str:
    """Blocks after one another; as CSV one table, ours and paper in columns of their own.

    A CSV row says where it belongs (table, scale, family); a column that its block has not is
    empty.
    """
    if form != "csv":
        return "\n".join(render(b, form) for b in blocks)
    rows: list[dict[str, str]] = []
    heads: dict[str, None] = {}
    names: dict[str, None] = {}
    for block in blocks:
        heads |= dict.fromkeys([*(key for key, _ in block.where), *block.labels])
        pairs = {c: (f"{c} ours", f"{c} paper") for c in block.columns}
        names |= dict.fromkeys(name for pair in pairs.values() for name in pair)
        for labels, cells in block.rows:
            row = dict(block.where) | dict(zip(block.labels, labels, strict=True))
            for column, cell in zip(block.columns, cells, strict=True):
                row |= dict(zip(pairs[column], (cell.value or "", cell.paper or ""), strict=True))
            rows.append(row)
    columns = [*heads, *names]
    return table(columns, [[row.get(c, "") for c in columns] for row in rows], form)


def _line(note: str, form: Format) -> str:
    return f"{'% ' if form == 'latex' else ''}{note}\n" if note else ""


def wrapped(*paragraphs: str) -> str:
    """Markdown paragraphs or list items in rows of at most `WIDTH` characters, each row ended."""
    wrap = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    rows = []
    for text in paragraphs:
        wrap.subsequent_indent = "  " if text.startswith("- ") else ""
        rows.append(wrap.fill(text))
    return "\n".join(rows) + "\n"


def put(path: Path, mark: str, text: str) -> None:
    """Replace what stands between the marks `<!-- mark -->` and `<!-- /mark -->` of a page.

    Without marks they and the text are added at the end; a page that is not there is begun.
    """
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    block = f"{start}\n\n{text}\n{end}"
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    marked = re.compile(re.escape(start) + ".*" + re.escape(end), re.DOTALL)
    new = marked.sub(lambda _: block, old) if marked.search(old) else f"{old}\n{block}\n".lstrip()
    path.write_text(new, encoding="utf-8")
