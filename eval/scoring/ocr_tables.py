"""OCRBench v2's metrics of structure: tables and charts (TEDS), documents (STEDS), key information.

An answer is data: it is parsed as JSON, as a Python literal or by patterns, never evaluated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from apted import APTED, Config
from rapidfuzz.distance import Levenshtein

MAX_LITERAL = 200_000  # characters
_LITERAL_FAULTS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


class Node:
    """A node of a table or document: its tag with spans, and the tokens of a cell."""

    __slots__ = ("children", "tag", "tokens")

    def __init__(self, tag: tuple[Any, ...], tokens: list[str] | None = None) -> None:
        self.tag, self.tokens = tag, tokens or []
        self.children: list[Node] = []

    def size(self) -> int:
        """Nodes of the tree, this one included."""
        return 1 + sum(child.size() for child in self.children)


class TableCosts(Config):
    """Renaming costs 1 between other tags or spans, and a cell's normalised distance of tokens."""

    def rename(self, node1: Node, node2: Node) -> float:
        if node1.tag != node2.tag:
            return 1.0
        longest = max(len(node1.tokens), len(node2.tokens))
        if longest == 0:
            return 0.0
        return Levenshtein.distance(node1.tokens, node2.tokens) / longest


class DocumentCosts(Config):
    """Lines of text count alike: renaming is free between two that are not blank, else 1."""

    def rename(self, node1: Node, node2: Node) -> float:
        return float(not node1.tag[0].split() or not node2.tag[0].split())


def teds(one: Node, two: Node) -> float:
    """1 - tree edit distance / nodes below the root of the larger table."""
    distance = APTED(one, two, TableCosts()).compute_edit_distance()
    return 1.0 - distance / max(one.size() - 1, two.size() - 1, 1)


def table_of(rows: list[list[str]]) -> Node:
    """A table of plain cells."""
    table = Node(("table",))
    for cells in rows:
        row = Node(("tr",))
        row.children = [Node(("td", 1, 1), list(cell)) for cell in cells]
        table.children.append(row)
    return table


def html_table(answer: str, gold: str) -> float:
    """TEDS of the first table in the answer's HTML; 0 if there is none."""
    start = min((i for i in (answer.find("<body"), answer.find("<table")) if i >= 0), default=-1)
    if start < 0:
        return 0.0
    given, right = parse_html(answer[start:]), parse_html(gold)
    return 0.0 if given is None or right is None else teds(given, right)


def parse_html(text: str) -> Node | None:
    """The first table of some HTML as a tree; None if there is none."""
    from lxml import etree, html

    text = text.replace("\n", "")
    if "<table" not in text:
        text = f"<table>{text}"
    try:
        root = html.fromstring(
            f"<html><body>{text}</body></html>", parser=html.HTMLParser(remove_comments=True)
        )
        tables = root.xpath("body/table")
        return _node(tables[0]) if tables else None
    except (etree.LxmlError, ValueError, AssertionError):
        return None


def _node(element: Any) -> Node:
    if element.tag == "td":
        spans = (int(element.get("colspan", "1")), int(element.get("rowspan", "1")))
        return Node(("td", *spans), _inner(element))
    node = Node((element.tag,))
    node.children = [_node(child) for child in element]
    return node


def _inner(element: Any) -> list[str]:
    """Characters and tags inside of a cell, each a token."""
    tokens = list(element.text or "")
    for child in element:
        tokens += [f"<{child.tag}>", *_inner(child), f"</{child.tag}>", *(child.tail or "")]
    return tokens


def markdown_table(answer: str, gold: str) -> float:
    """TEDS of Markdown tables; the line below the header is left out."""
    return teds(table_of(_markdown_rows(answer)), table_of(_markdown_rows(gold)))


def _markdown_rows(text: str) -> list[list[str]]:
    lines = without_fence(text).strip().split("\n")
    rows = [line.strip().split("|")[1:-1] for line in (lines[:1] + lines[2:])]
    return [[cell.strip() or (" " if cell else "") for cell in cells] for cells in rows]


def without_fence(text: str) -> str:
    """The inside of the longest code fence; the text itself if there is none."""
    fences = re.findall(r"```[a-zA-Z]*\n(.*?)\n?```", text, re.DOTALL)
    return max(fences, key=len) if fences else text.strip()


def chart(answer: str, gold: str) -> float:
    """TEDS of a chart's data as a two-column table; 0 if the answer is no Python dictionary."""
    given, right = _literal_dict(answer), _literal_dict(gold)
    if not given or not right:
        return 0.0
    return teds(_chart_table(given), _chart_table(right))


def _chart_table(data: Mapping[Any, Any]) -> Node:
    # the official script joins a value's characters by blanks, and so do we
    return table_of([[str(key), " ".join(str(value))] for key, value in data.items()])


def _literal_dict(text: str) -> dict[Any, Any]:
    """A dictionary in a fence, after an assignment, with comments: {} if there is none."""
    content = re.sub(r"^\s*\w+\s*=\s*", "", without_fence(text), count=1)
    content = re.sub(r"#[^\n]*", "", content)
    content = content[: content.rfind("}") + 1] or content
    found = _literal(content.strip())
    return found if isinstance(found, dict) else {}


def _literal(text: str) -> Any:
    if len(text) > MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except _LITERAL_FAULTS:
        return None


def read_dict(answer: str) -> dict[str, str]:
    """The answer's key-value pairs as texts: from JSON, a literal, or "key: value" lines."""
    content = without_fence(answer)
    data: Any = None
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = _literal(content)
    if not isinstance(data, dict):
        pairs = re.findall(r"[\"']?(\w[\w ]{0,80})[\"']?\s*[:=]\s*[\"']?([^\n,\"'{}]+)", content)
        data = dict(pairs)
    return {str(key).strip(): str(value).strip() for key, value in data.items()}


def key_values(answer: str, gold: str) -> float:
    """Mean over all keys of either side of 1 for an equal value, else 0.

    A gold value may be a list of acceptable ones; the keys are independent, so the best of all
    combinations is the best for each key.
    """
    text = gold.strip('"')
    try:
        right = json.loads(text)
    except ValueError:
        right = _literal(text)
    if isinstance(right, str):  # written twice
        right = _literal(right)
    if not isinstance(right, dict):
        raise ValueError(f"no dictionary in the gold answer {gold[:80]!r}")
    given = {key: _tidy(value) for key, value in read_dict(answer).items()}
    keys = set(given) | set(right)
    hits = 0
    for key in keys & set(given) & set(right):
        accepted = right[key] if isinstance(right[key], list) else [right[key]]
        hits += given[key] in {_tidy(value) for value in accepted}
    return hits / len(keys) if keys else 0.0


def _tidy(value: Any) -> str:
    return str(value).lower().strip().replace("\n", " ").replace(" ", "")


def document(answer: str, gold: str) -> float:
    """STEDS: 1 - tree edit distance / nodes of the larger tree of headings and lines."""
    one, two = _document_tree(answer), _document_tree(gold)
    distance = APTED(one, two, DocumentCosts()).compute_edit_distance()
    return 1.0 - distance / max(one.size(), two.size())


def _document_tree(text: str) -> Node:
    root = Node(("ROOT",))
    place = Node(("TITLE",))  # takes the lines before the first heading
    root.children.append(place)
    for line in text.split("\n"):
        line = re.sub(r"[*_]", " ", line)
        if line.startswith("#"):
            place = Node((line.replace("#", ""),))
            root.children.append(place)
        else:
            place.children.append(Node((line,)))
    return root
