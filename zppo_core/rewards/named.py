"""A value behind its name, and texts that only look like arithmetic."""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.expressions import exact, has_symbols, parse
from zppo_core.rewards.moments import read_date
from zppo_core.rewards.numbers import read_number
from zppo_core.rewards.regions import read_region
from zppo_core.rewards.shapes import Statement, bracketed, read_matrix, read_statement
from zppo_core.rewards.sides import is_name, is_set, is_sum, names_value


def named_parts(text: str) -> tuple[str, str] | None:
    """(name, value) of `name = value`; None if the text is not that."""
    statement = read_statement(text)
    if statement is None or set(statement.relations) - {"=", r"\approx"}:
        return None
    sides = statement.sides
    if len(sides) == 2 and not is_name(sides[0]) and is_name(sides[1]) and sides[0]:
        sides = sides[::-1]
    name, value = sides[0], sides[-1]
    if not value or not (is_name(name) or names_value(name, value)):
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


def _is_shape(text: str) -> bool:
    r"""Whether `text` is a tuple, a set, an interval, a union or a matrix; not `(x+1)(x+2)`."""
    sequence = bracketed(text)
    if sequence is not None and (len(sequence.parts) > 1 or sequence.brackets == "{}"):
        return True
    return (
        text == r"\emptyset" or read_matrix(text) is not None or read_region(text, True) is not None
    )


def shaped_value(text: str) -> str:
    r"""What stands in brackets behind a name, `[2, 5)` of `D = [2, 5)`; else the text itself.

    The name may be one of sets, of matrices or of vectors too: `A \\cap B`, `A^{-1}`, `u + v`.
    """
    statement = read_statement(text)
    if statement is None or set(statement.relations) != {"="}:
        return text
    *names, value = statement.sides
    if not _is_shape(value):
        return text
    return value if all(is_name(n) or is_set(n) or is_sum(n) for n in names) else text


def total_of(text: str) -> str | None:
    """The value of `m + n = 73`, a sum of different names; None if the text is not that."""
    statement = read_statement(text) if "=" in text else None
    if statement is None or statement.relations[0] != "=" or not is_sum(statement.sides[0]):
        return None
    rest = text[text.index("=") + 1 :].strip()
    return rest if len(statement.sides) == 2 else named_value(rest)


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
        is_name(name) and (tree := parse(value)) is not None and not has_symbols(tree)
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
