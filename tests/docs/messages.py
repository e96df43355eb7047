"""The messages of the code, as templates: … stands for what is filled in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("zppo_core", "eval", "steps", "flows")


def templates() -> Iterator[str]:
    """The text of every string of the product; implicit joins are one string."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                    text = text_of(node)
                    if text is not None and len(text) > 10:
                        yield text


def text_of(node: ast.AST) -> str | None:
    """A string's text, … for its values; None if it is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else (left or "…") + (right or "…")
    return None


@lru_cache
def known() -> frozenset[str]:
    """All of them."""
    return frozenset(templates())


def exists(message: str) -> bool:
    """Whether a template has the parts of `message`, which … separates, in their order."""
    parts = [part for part in message.split("…") if part.strip()]
    return any(_has(template, parts) for template in known())


def _has(template: str, parts: list[str]) -> bool:
    place = 0
    for part in parts:
        place = template.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True
