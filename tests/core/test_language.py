"""The documents are written in short sentences and short rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "benchmarks/README.md",
        *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
    )
)
ROW, AVERAGE, LONGEST = 140, 25, 40
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.) ")
ABBREVIATION = re.compile(r"\b(Figs?|App|vs|e\.g|i\.e)\.(?=\s)")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """("prose", paragraph or list item) and ("cell", table cell); code and headings left out."""
    paragraph: list[str] = []
    for line in [*FENCE.sub("\n", text).splitlines(), ""]:
        table, heading = line.startswith("|"), line.startswith("#")
        if (table or heading or not line.strip() or ITEM.match(line)) and paragraph:
            yield "prose", " ".join(paragraph)
            paragraph = []
        if table:
            yield from (("cell", cell) for cell in re.split(r"(?<!\\)\|", line))
        elif line.strip() and not heading:
            paragraph.append(ITEM.sub("", line).strip())


def sentences(block: str) -> list[int]:
    """Words of each sentence. A code span is one word; a colon or semicolon ends nothing."""
    plain = re.sub(r"(`+).*?\1", "code", block)
    plain = re.sub(r"!?\[(.*?)\]\(.*?\)", r"\1", plain)
    plain = ABBREVIATION.sub(r"\1", plain).replace("**", "")
    parts = re.split(r"(?<=[.!?])[)\"']*\s+", plain)
    counts = [sum(any(c.isalnum() for c in word) for word in part.split()) for part in parts]
    return [count for count in counts if count]


def lengths(text: str, kind: str) -> list[int]:
    return [count for k, block in blocks(text) if k == kind for count in sentences(block)]


def test_sentences_are_counted_as_a_reader_counts_them() -> None:
    text = (
        "# A heading of four words\n\nOne `code span here` is a word. So is 4.5, and (see\n"
        "Fig. 4) [a link](http://x.y/z).\n\n- An item; it goes on: so.\n- Two.\n\n"
        "```\nno words here.\n```\n| a cell | `x \\| y` two words |\n"
    )
    assert lengths(text, "prose") == [5, 9, 6, 1]
    assert lengths(text, "cell") == [2, 3]


@pytest.mark.parametrize("page", PAGES)
def test_no_row_of_a_page_is_too_long(page: str) -> None:
    rows = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert not [f"{n}: {len(row)}" for n, row in enumerate(rows, 1) if len(row) > ROW]


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_a_page_are_short(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = lengths(text, "prose")
    assert max([*prose, *lengths(text, "cell")]) <= LONGEST
    assert sum(prose) <= AVERAGE * len(prose)
