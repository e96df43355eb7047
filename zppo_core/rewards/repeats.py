r"""A value that is said twice, exact and rounded: `\frac23 \approx 0.667`, `\frac34 (75\%)`."""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.answers import Context
from zppo_core.rewards.expressions import has_symbols, parse
from zppo_core.rewards.named import exact_value, named_value
from zppo_core.rewards.numbers import Number, read_number
from zppo_core.rewards.shapes import read_statement

LONGEST = 200  # characters
_APPROX = re.compile(r"\s*\\approx(?![A-Za-z])\s*")
_AGAIN = re.compile(
    r"(?P<first>.*[^\s(])(?:\s+|(?=\(\s*\\approx))\(\s*"
    r"(?P<marked>(?:or|i\.e\.|that is|about|approximately|=|~|\\approx(?![A-Za-z]))[,\s]*)?"
    r"(?P<again>[^()]+)\)"
)


def said_first(text: str, context: Context) -> tuple[str, str] | None:
    """(what is said first, its rounded value); None if no value is said twice, or rounded wrongly.

    NeedsAlgebraError where an irrational value is rounded and this is no worker.
    """
    if not (text.endswith(")") or r"\approx" in text) or len(text) > LONGEST:
        return None
    if text.endswith(")"):
        match = _AGAIN.fullmatch(text)
        if match is None:
            return None
        first, again = match["first"], match["again"].strip()
        marked = match["marked"] is not None
    else:
        first, marked = text, True
        for match in _APPROX.finditer(text):
            first, again = text[: match.start()], text[match.end() :]
        if first == text or not first:
            return None
    number = read_number(again)
    if number is None or number.ordinal:
        return None
    value = _last(first)
    shown = read_number(value)
    decimal = [n for n in (number, shown) if n is not None and (n.ulp is not None or n.percent)]
    if not (marked or decimal):
        return None  # 2 (2) is a product
    return (first, again) if _rounds(value, number, context) else None


def _last(text: str) -> str:
    """The last side of a statement, or the text itself."""
    value = named_value(text)
    statement = read_statement(text) if value is None else None
    return value if value is not None else statement.sides[-1] if statement else text


def _rounds(value: str, number: Number, context: Context) -> bool:
    """Whether a constant rounds to `number`, as that is shown; a whole one shows its units."""
    if number.ulp is None and number.value.denominator != 1:
        half = Fraction(0)
    else:
        half = (number.ulp or Fraction(1)) / 2
    exact = exact_value(value)
    if exact is not None:
        return abs(exact - number.value) <= half
    tree = parse(value)
    if tree is None or has_symbols(tree):
        return False
    return context.call("near_constant", str(number.value), str(half), value)
