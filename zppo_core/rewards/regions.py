"""Sets of real numbers: intervals, inequalities of one variable, and unions of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from zppo_core.rewards.expressions import parse
from zppo_core.rewards.numbers import exact_number
from zppo_core.rewards.shapes import MIRRORED, bracketed, read_statement, split_list


@dataclass(frozen=True)
class Piece:
    """An interval: its ends as texts and whether they belong to it."""

    low: str
    low_in: bool
    high: str
    high_in: bool


@dataclass(frozen=True)
class Region:
    """A set of real numbers as a union of intervals; `name` is its variable, "" if none is."""

    pieces: tuple[Piece, ...]
    name: str = ""


_VARIABLE = re.compile(r"\\?[A-Za-z]+(?:_\{?\w{1,4}\}?)?'?|[A-Za-z]\([A-Za-z]\)")
_ABSOLUTE = re.compile(r"\|\s*([A-Za-z])\s*\|")
_UNION = re.compile(
    r"\s*(?:\\cup(?![A-Za-z])|∪|\s+or\s+|\\lor(?![A-Za-z])|(?<=[)\]])\s*U\s*(?=[(\[])|\s或\s|或)\s*"
)
_BUILDER = re.compile(
    r"\\?\{\s*([A-Za-z])\s*(?:\\in\s*(?:R|\\R|\\mathbb\{R\})\s*)?(?:[|:]|\\mid)\s*(.+?)\s*\\?\}"
)
_REALS = {"R", r"\R", "全体实数", "实数"}
_ALL_REALS = re.compile(
    r"(?:the set of )?all (?:the )?real(?:s| numbers)|(?:the )?real numbers"
    r"|(?:any|every) real number",
    re.IGNORECASE,
)
_LOW, _HIGH = r"-\infty", r"\infty"
_WITHOUT = re.compile(
    r"(?:\\?R|\\mathbb\{R\})\s*(?:\\setminus|\\backslash|-)\s*\\?\{([^{}]*?(?:\{[^{}]*\}[^{}]*?)*)\\?\}"
)
_IN = re.compile(rf"({_VARIABLE.pattern})\s*\\in(?![A-Za-z])\s*(.+)")


@lru_cache(maxsize=1 << 12)
def read_region(text: str, reals: bool = False) -> Region | None:
    """The set of numbers that intervals or inequalities of one variable describe; None if not.

    `reals` takes the set of all reals and a bare interval `(1, 2)` too.
    """
    text = _OF_REALS.sub("", text)
    if "than" in text or " equal" in text:
        text = _than(text)
    builder = _BUILDER.fullmatch(text)
    if builder:
        region = read_region(builder.group(2), reals)
        return region if region and region.name in ("", builder.group(1)) else None
    member = _IN.fullmatch(text)
    if member and not (r"\in" in member.group(2) and _UNION.search(text)):
        region = read_region(member.group(2), True)
        return Region(region.pieces, member.group(1)) if region and not region.name else None
    without = _WITHOUT.fullmatch(text)
    if without:
        return _reals_without(split_list(without.group(1)))
    if reals and (text in _REALS or _ALL_REALS.fullmatch(text)):
        return Region((Piece(_LOW, False, _HIGH, False),))
    pieces: list[Piece] = []
    names: set[str] = set()
    both = _both(text) if "," in text and "(" not in text and "[" not in text else None
    if both is not None:
        return both
    for part in _UNION.split(text):
        region = _interval(part) or _inequality(part)
        if region is None:
            return None
        pieces += region.pieces
        if region.name:
            names.add(region.name)
    if len(names) > 1 or any("(" in name for name in names):
        return None
    return Region(tuple(pieces), names.pop() if names else "")


_OF_REALS = re.compile(r",\s*[a-z]\s*\\in\s*\\?R(?:\s|(?=\s*\\?\})|$)")
_SIZES = (
    (
        re.compile(r"(?:is )?(?:greater than|more than|larger than) or equal to", re.IGNORECASE),
        r"\\ge",
    ),
    (re.compile(r"(?:is )?(?:less than|smaller than) or equal to", re.IGNORECASE), r"\\le"),
    (re.compile(r"(?:is )?(?:greater|more|larger) than", re.IGNORECASE), ">"),
    (re.compile(r"(?:is )?(?:less|smaller) than", re.IGNORECASE), "<"),
    (re.compile(r"^(?:all|any|every) (?:real )?numbers? (?:[a-z] )?(?=[<>\\])", re.IGNORECASE), ""),
)


def _than(text: str) -> str:
    """`x > 3` for "x is greater than 3" and "all real numbers greater than 3"."""
    for words, sign in _SIZES:
        text = words.sub(sign, text)
    return text


def _both(text: str) -> Region | None:
    """`x \\ge 2, x < 5` holds for both; `x < -1, x > 1`, which cannot, for either."""
    parts = split_list(text)
    if len(parts) != 2:
        return None
    left, right = _inequality(parts[0]), _inequality(parts[1])
    if left is None or right is None or not left.name or left.name != right.name:
        return None
    meeting = _meeting(left, right)
    ends = [exact_number(p) for m in meeting.pieces for p in (m.low, m.high)] if meeting else []
    if None in ends or not ends:
        return None
    low, high = ends
    return meeting if (low or 0) < (high or 0) else Region(left.pieces + right.pieces, left.name)


def _reals_without(points: tuple[str, ...]) -> Region | None:
    """All reals but some numbers; None if those have no order that is plain to see."""
    if len(points) > 1:
        values = {point: exact_number(point) for point in points}
        if None in values.values():
            return None
        points = tuple(sorted(points, key=lambda point: values[point] or 0))
    ends = (_LOW, *points, _HIGH)
    return Region(tuple(Piece(a, False, b, False) for a, b in pairwise(ends)))


def _interval(text: str) -> Region | None:
    sequence = bracketed(text)
    if (
        sequence is None
        or sequence.brackets not in ("()", "[]", "(]", "[)")
        or len(sequence.parts) != 2
    ):
        return None
    low, high = sequence.parts
    low_in = sequence.brackets[0] == "[" and low != _LOW
    high_in = sequence.brackets[1] == "]" and high not in (_HIGH, "+" + _HIGH)
    return Region((Piece(low, low_in, high.removeprefix("+"), high_in),))


def _inequality(text: str) -> Region | None:
    """`x > 2`, `1 < x <= 3`, `x != 3`, `> 2`, and two of them joined by "and"."""
    both = re.split(r"\s+and\s+|\s*\\land(?![A-Za-z])\s*|\s*且\s*", text)
    if len(both) == 2:
        left, right = _inequality(both[0]), _inequality(both[1])
        return None if left is None or right is None else _meeting(left, right)
    statement = read_statement(text)
    if statement is None:
        return None
    sides, relations = statement.sides, statement.relations
    if len(relations) == 1 and relations[0] == r"\in":
        member = _IN.fullmatch(text)
        interval = _interval(member.group(2)) if member else None
        return Region(interval.pieces, sides[0]) if interval else None
    if len(relations) == 1:
        return _half_line(sides, relations[0])
    if len(relations) != 2 or not _VARIABLE.fullmatch(sides[1]):
        return None
    if all(r in (">", r"\ge") for r in relations):
        mirrored = statement.mirrored()
        assert mirrored is not None
        sides, relations = mirrored.sides, mirrored.relations
    if not all(r in ("<", r"\le") for r in relations) or not (sides[0] and sides[2]):
        return None
    piece = Piece(sides[0], relations[0] == r"\le", sides[2], relations[1] == r"\le")
    return Region((piece,), sides[1])


def _half_line(sides: tuple[str, ...], relation: str) -> Region | None:
    if relation not in ("<", ">", r"\le", r"\ge", r"\ne"):
        return None
    left, right = sides
    if _ABSOLUTE.fullmatch(right):
        left, right, relation = right, left, MIRRORED.get(relation, relation)
    bars = _ABSOLUTE.fullmatch(left)
    if bars and parse(right) is not None:
        inside = relation == r"\le"
        if relation in ("<", r"\le"):
            return Region((Piece(f"-({right})", inside, right, inside),), bars.group(1))
        if relation not in (">", r"\ge"):
            return None
        inside = relation == r"\ge"
        outer = Piece(_LOW, False, f"-({right})", inside), Piece(right, inside, _HIGH, False)
        return Region(outer, bars.group(1))
    if not _VARIABLE.fullmatch(left) and left:
        left, right, relation = right, left, MIRRORED.get(relation, relation)
    if (left and not _VARIABLE.fullmatch(left)) or not right or _VARIABLE.fullmatch(right):
        return None
    if relation == r"\ne":
        return Region((Piece(_LOW, False, right, False), Piece(right, False, _HIGH, False)), left)
    inside = relation in (r"\le", r"\ge")
    if relation in ("<", r"\le"):
        return Region((Piece(_LOW, False, right, inside),), left)
    return Region((Piece(right, inside, _HIGH, False),), left)


def _meeting(left: Region, right: Region) -> Region | None:
    """`x > 1 and x < 3`: a lower and an upper end."""
    if len(left.pieces) != 1 or len(right.pieces) != 1 or left.name != right.name:
        return None
    low, high = left.pieces[0], right.pieces[0]
    if low.low == _LOW:
        low, high = high, low
    if low.low == _LOW or low.high != _HIGH or high.low != _LOW or high.high == _HIGH:
        return None
    return Region((Piece(low.low, low.low_in, high.high, high.high_in),), left.name)
