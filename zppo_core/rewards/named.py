"""A value behind its name, and texts that only look like arithmetic."""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.expressions import exact, has_symbols, parse
from zppo_core.rewards.moments import read_date
from zppo_core.rewards.numbers import read_number
from zppo_core.rewards.shapes import Statement, read_statement
from zppo_core.rewards.tables import words

_COMMANDS = {*words("symbols"), *words("marked"), "frac", "therefore", "because"}
LONGEST_NAME = 60  # characters
_NAME = re.compile(
    r"(?:\\(?:therefore|because)\s*)?"
    r"(?:\|?(?:\\(?:angle|triangle|overline|vec|hat|bar|Delta|widehat|overrightarrow)\s*)?"
    r"(?:\{?\\?[A-Za-z]+\}?(?:_\s*(?:\{[^{}=]{1,16}\}|[A-Za-z0-9]))?'{0,2}"
    r"(?:\([A-Za-z0-9,.+\\ =|-]{1,16}\))?[\s*]*){1,4}\|?"
    r"|\\frac\{d\^?\d?[a-z]?\}\{d[a-z]\^?\d?\}|[一-鿿]{1,12})"
)
_DENY = set(words("deny"))
# half of x, double x, square of x: another value; "double bonds" and "the negative root" are names
_MULTIPLE = re.compile(
    r"(?<![A-Za-z\\])(?:"
    r"(?:half|third|quarter|double|triple|times|negative)\s+(?:the\s|\\?[A-Za-z](?![A-Za-z]))"
    r"|(?:half|third|quarter|double|triple|square|cube|(?:square|cube|cubic)\s+root|multiple"
    r"|negative|opposite|reciprocal|fraction|percent|less|more)\s+of\b"
    r"|(?:at\s+(?:least|most)|all\s+but|up\s+to)\b|(?:more|less|fewer|half)\s*$)",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"no\.?\s+of\b|(?:wrong|incorrect|false)\s+[a-z]{3,}", re.IGNORECASE)
_DENIED_HAN = re.compile(
    "不是|不等|并非|不为|不对|错|除了|除非|如果|若|一半|至少|至多|大于|小于|超过|倍$"
)


def named_parts(text: str) -> tuple[str, str] | None:
    """(name, value) of `name = value`; None if the text is not that."""
    statement = read_statement(text)
    if statement is None or set(statement.relations) - {"=", r"\approx"}:
        return None
    sides = statement.sides
    if len(sides) == 2 and not _is_name(sides[0]) and _is_name(sides[1]) and sides[0]:
        sides = sides[::-1]
    name, value = sides[0], sides[-1]
    if not value or (name and not _is_name(name)) or not name:
        return None
    if len(sides) > 2 and not all(_equal_exactly(s, value) for s in sides[1:-1]):
        return None
    return re.sub(r"[\s{}]", "", name), value


def named_value(text: str) -> str | None:
    """The value that a statement `name = value`, `= value` or `2 + 3 = 5` ends in; None if none.

    Every side but a name must be that value: a chain that is false has none.
    """
    named = named_parts(text)
    if named is not None:
        return named[1]
    statement = read_statement(text)
    if statement is None or set(statement.relations) - {"=", r"\approx"}:
        return None
    *others, value = statement.sides
    if not value:
        return None
    if others[0] == "":
        others = others[1:]
    return value if all(_equal_exactly(side, value) for side in others) else None


def _is_name(text: str) -> bool:
    match = _NAME.fullmatch(text) if len(text) <= LONGEST_NAME else None
    if match and any(c not in _COMMANDS for c in re.findall(r"\\([A-Za-z]+)", text)):
        return False
    if match is None or text.strip() in ("e", "\\pi", "i", "\\infty"):
        return False
    return not denied(text)


def denied(name: str) -> bool:
    """Whether the words before `=` deny what stands behind it, or change it: `not x`, `half of x`.

    A number of wrong answers and a "no. of apples" deny nothing.
    """
    rest = _COUNTED.sub("", name)
    if "n't" in rest or _MULTIPLE.search(rest) or _DENIED_HAN.search(rest):
        return True
    return any(w.lower() in _DENY for w in re.findall(r"(?<![A-Za-z\\])[A-Za-z]{2,}", rest))


def _equal_exactly(left: str, right: str) -> bool:
    """Whether two sides are equal by exact arithmetic alone."""
    x, y = exact_value(left), exact_value(right)
    return x is not None and x == y


def solved(statement: Statement) -> bool:
    """Whether an equation tells a variable's value, so that no multiple of it is the answer."""
    sides = statement.sides
    if len(sides) != 2:
        return True
    return any(
        _is_name(name) and (tree := parse(value)) is not None and not has_symbols(tree)
        for name, value in (sides, sides[::-1])
    )


def exact_value(text: str) -> Fraction | None:
    """The rational number that a text is or computes by exact arithmetic."""
    number = read_number(text)
    if number is not None:
        return number.value
    tree = None if looks_literal(text) else parse(text)
    return None if tree is None else exact(tree)


_LITERAL = re.compile(
    r"0\d+|\d+(?:\.\d+){2,}|\+?\d+(?:-\d+){2,}|\+\d+(?:[- ]\d+)+|\d{3}-0\d{3}"
    r"|\(\d{3}\)\s*\d{3}-\d{4}|[A-Za-z]+\d\w*|\d+(?![eE])[A-Za-z]+\d+\w*|[A-Za-z]+-\d+\w*"
    r"|[vV]\d+(?:\.\d+)*|\d+-[A-Z]\w*|[1-9]\d\d0s|(?=[\w-]*[A-Za-z]{2})\w+(?:-\w+){2,}"
)
_SPAN_LIKE = re.compile(r"(\d+(?:\.\d+)?)%?-(\d+(?:\.\d+)?)%?")
_DATE_LIKE = re.compile(r"\d+(?:[-/]\d+){2,}|[12]\d{3}-(?:0?[1-9]|1[0-2])")


def is_literal(text: str) -> bool:
    """Whether `text` is a number or word for itself: `007`, `192.168.0.1`, `555-1234`, `A1B2`."""
    return _LITERAL.fullmatch(text) is not None


def looks_literal(text: str) -> bool:
    """Whether `text` is a date, a span or a code, which arithmetic must leave alone."""
    if _DATE_LIKE.fullmatch(text) or is_literal(text) or read_date(text) is not None:
        return True
    span_like = _SPAN_LIKE.fullmatch(text)
    return span_like is not None and Fraction(span_like.group(1)) < Fraction(span_like.group(2))
