"""OCRBench v2's metrics of structure: tables and charts (TEDS), documents (STEDS), key information.

An answer is data: it is parsed as JSON, as a Python literal or by patterns, never evaluated.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from apted import APTED, Config
from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from lxml.html import HtmlElement

MAX_LITERAL = 200_000  # characters
_LITERAL_FAULTS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


Tag = tuple[str] | tuple[str, int, int]  # of a cell: with its spans


class Node:
    """A node of a table or document: its tag with spans, and the tokens of a cell."""

    __slots__ = ("children", "tag", "tokens")

    def __init__(self, tag: Tag, tokens: list[str] | None = None) -> None:
        self.tag, self.tokens = tag, tokens or []
        self.children: list[Node] = []

    def size(self) -> int:
        """Nodes of the tree, this one included."""
        return 1 + sum(child.size() for child in self.children)

    def first(self, tag: Tag) -> Node:
        """The first node with this tag, from the top; KeyError if there is none."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.tag == tag:
                return node
            waiting += reversed(node.children)
        raise KeyError(tag)


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


def teds(answer: str, gold: str) -> float:
    """1 - tree edit distance / elements below the larger table, of two HTML pages' first tables.

    0 if a page has none. Elements inside of a cell count, though the cell is one node.
    """
    given, right = parse_html(answer), parse_html(gold)
    if given is None or right is None:
        return 0.0
    distance: float = APTED(given[0], right[0], TableCosts()).compute_edit_distance()
    return 1.0 - distance / max(given[1], right[1], 1)


def page_of(rows: list[list[str]]) -> str:
    """An HTML page with a table; marks in the cells stay marks, as in the official script."""
    lines = ("".join(f"<td>{cell}</td>" for cell in cells) for cells in rows)
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<html><body><table>{table}</table></body></html>".replace("\n", "")


def html_table(answer: str, gold: str) -> float:
    """TEDS of the answer's HTML from its body, or its first table, on; 0 if it has neither."""
    answer = answer.replace("\n", "")
    start = answer.find("<body")
    start = start if start >= 0 else answer.find("<table")
    return 0.0 if start < 0 else teds(_whole_page(answer[start:]), _whole_page(gold))


def _whole_page(text: str) -> str:
    """HTML with the tags around its table that are missing."""
    text = text.replace("\n", "")
    if "</table>" not in text:
        text = f"{text}</table>" if "<table" in text else f"<table>{text}</table>"
    elif "<table" not in text:
        text = f"<table>{text}"
    if "<body>" not in text:
        text = f"<body>{text}</body>"
    return text if "<html>" in text else f"<html>{text}</html>"


def parse_html(text: str) -> tuple[Node, int] | None:
    """A page's first table as a tree, and how many elements it has; None if there is none."""
    from lxml import etree, html

    try:
        root = html.fromstring(text, parser=html.HTMLParser(remove_comments=True))
        tables = root.xpath("body/table")
        return (_node(tables[0]), len(tables[0].xpath(".//*"))) if tables else None
    except (etree.LxmlError, ValueError, AssertionError):
        return None


def _node(element: HtmlElement) -> Node:
    if element.tag == "td":
        spans = (int(element.get("colspan", "1")), int(element.get("rowspan", "1")))
        return Node(("td", *spans), _inner(element))
    node = Node((element.tag,))
    node.children = [_node(child) for child in element]
    return node


def _inner(element: HtmlElement) -> list[str]:
    """Characters and tags inside of a cell, each a token."""
    tokens = list(element.text or "")
    for child in element:
        tokens += [f"<{child.tag}>", *_inner(child), f"</{child.tag}>"]
        tokens += "" if child.tag == "td" else (child.tail or "")
    return tokens


def markdown_table(answer: str, gold: str) -> float:
    """TEDS of Markdown tables; the line below the header is left out."""
    return teds(page_of(_markdown_rows(answer)), page_of(_markdown_rows(gold)))


def _markdown_rows(text: str) -> list[list[str]]:
    # letters of the fence, in any order, as in the official script: rows begin and end with "|"
    lines = text.strip("`markdown").strip("`").strip().split("\n")
    rows = [line.strip().split("|")[1:-1] for line in (lines[:1] + lines[2:])]
    return [[" " if set(cell) == {" "} else cell.strip() for cell in cells] for cells in rows]


_FENCE = re.compile(r"```(?:python|json)?\n(.*?)\n```", re.DOTALL | re.IGNORECASE)


def chart(answer: str, gold: str) -> float:
    """TEDS of a chart's data as a two-column table; 0 if the answer is no Python dictionary."""
    given, right = _literal_dict(answer), _literal_dict(gold)
    if not given or not right:
        return 0.0
    return teds(_chart_page(given), _chart_page(right))


def _chart_page(data: Mapping[object, object]) -> str:
    # the official script joins a value's characters by blanks, and so do we
    return page_of([[str(key), " ".join(str(value))] for key, value in data.items()])


def _literal_dict(text: str) -> dict[object, object]:
    """A dictionary in the longest fence, after an assignment, with comments: {} if none."""
    content = max(_FENCE.findall(text), key=len, default=text).strip()
    content = re.sub(r"^\s*\w+\s*=\s*", "", content, count=1)
    content = re.sub(r"#[^\n]*", "", content)
    content = content[: content.rfind("}") + 1] or content
    value = _literal(content.strip())
    return value if isinstance(value, dict) else {}


def _literal(text: str) -> object:
    if len(text) > MAX_LITERAL:
        return None
    try:
        value: object = ast.literal_eval(text)
    except _LITERAL_FAULTS:
        return None
    return value


_WORDS = re.compile(r"[\w\s]+")
_VALUE = re.compile(r"[\"']?\s*[:=]\s*[\"']?([^\n,\"'{}]+)[\"']?")


def read_dict(answer: str) -> dict[str, str]:
    """The answer's key-value pairs as texts: from JSON, a literal, or "key: value" lines."""
    fence = _FENCE.search(answer)
    content = fence.group(1) if fence else answer.strip()
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = _literal(content)
        if data is None:
            data = _pairs(content)
    if not isinstance(data, dict) or not all(isinstance(k, str | bytes) for k in data):
        return {}
    return {str(key).strip(): str(value).strip() for key, value in data.items()}


def _pairs(text: str) -> dict[str, str]:
    """ "key: value" and "key = value", wherever they stand; in linear time."""
    pairs, place = {}, 0
    while key := _WORDS.search(text, place):
        value = _VALUE.match(text, key.end())
        place = value.end() if value else key.end()
        if value:
            pairs[key.group().strip()] = value.group(1)
    return pairs


def key_values(answer: str, gold: str) -> float:
    """Mean over all keys of either side of 1 for an equal value, else 0.

    A gold value may be a list of acceptable ones; the keys are independent, so the best of all
    combinations is the best for each key. ValueError if the gold answer is no dictionary.
    """
    text = gold.strip('"')
    try:
        right = json.loads(text)
    except (ValueError, RecursionError):
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


def _tidy(value: object) -> str:
    return str(value).lower().strip().replace("\n", " ").replace(" ", "")


def document(answer: str, gold: str) -> float:
    """STEDS: 1 - tree edit distance / nodes of the larger tree of headings and lines."""
    one, two = _document_tree(answer), _document_tree(gold)
    distance: float = APTED(one, two, DocumentCosts()).compute_edit_distance()
    return 1.0 - distance / max(one.size(), two.size())


def _document_tree(text: str) -> Node:
    root, title = Node(("ROOT",)), Node(("TITLE",))
    root.children.append(title)
    place = title  # takes the lines without a heading that says something
    for line in text.split("\n"):
        line = re.sub(r"[*_]", " ", line)
        if line.startswith("#"):
            heading = Node((line.replace("#", ""),))
            root.children.append(heading)
            # the official script looks the heading up by its text, and takes the first such node
            place = root.first(heading.tag) if heading.tag[0] else title
        else:
            place.children.append(Node((line,)))
    return root
