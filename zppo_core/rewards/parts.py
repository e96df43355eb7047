"""The parts of lists and orderings, whatever joins them and whatever names stand before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from zppo_core.rewards.choices import letters_of
from zppo_core.rewards.expressions import is_word
from zppo_core.rewards.named import exact_value, named_parts, named_value
from zppo_core.rewards.quantities import read_quantity
from zppo_core.rewards.shapes import bracketed, read_matrix, read_statement, split_list

_ONE = r"\\?[A-Za-z]+(?:_\{?\w\}?)?"  # the name of a variable
T = TypeVar("T")
LONGEST_SPREAD = 200  # characters of a part whose signs are spread
PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])\s*")


def sequence_of(text: str, gold: str) -> Sequence[str]:
    """The parts of an ordering in whatever way they are joined."""
    sequence = bracketed(text)
    if sequence and sequence.parts:
        return sequence.parts
    matrix = read_matrix(text)
    if matrix is not None:
        return [c for row in matrix.rows for c in row]
    parts = split_list(text)
    if len(parts) > 1:
        return parts
    statement = read_statement(text)
    if statement and set(statement.relations) <= {"\\to", "\\Rightarrow", ">", "<"}:
        return statement.sides if len(set(statement.relations)) == 1 else ()
    letters = text.replace(" ", "").replace("-", "")
    if re.fullmatch("[A-Z]{2,}", letters) and letters_of(gold):
        return letters
    tokens = text.split()
    as_many = len(tokens) == len(split_list(gold)) > 1 and all(t.isalnum() for t in tokens)
    return tokens if as_many or letters_of(text) else parts


def assigned_of(answer: str) -> Sequence[str] | None:
    """The parts of `1, 2`, or the values of `x = 1, y = 2` in order of the names."""
    parts = split_list(answer)
    if len(parts) < 2:
        return None
    if one_of(answer):
        return None
    names = [named_parts(p) for p in parts]
    if not any(names):
        return parts
    if not all(names) or len({n[0] for n in names if n}) != len(parts):
        return None
    return [value for _, value in sorted((n for n in names if n), key=by_name)]


def by_name(named: tuple[str, str]) -> str:
    r"""What named values are sorted by: `r` stands before `\\theta`."""
    return named[0].lstrip("\\")


def values_of(answer: str) -> Sequence[str] | None:
    """The members of a list, names such as `x =` and `x_1 =` taken off; None if they differ."""
    parts = split_list(answer)
    return unnamed_of(parts)


def unnamed_of(parts: Sequence[str]) -> Sequence[str] | None:
    names = [named_parts(p) for p in parts]
    if not any(names):
        return parts
    if len(_bases(parts)) != 1 or names[0] is None:
        return None
    return [n[1] if n else p for n, p in zip(names, parts, strict=True)]


def value_of(answer: str) -> str:
    """The value of `name = value`, or the text itself."""
    return named_value(answer) or answer


_POINT = re.compile(rf"\((\s*{_ONE}\s*(?:,\s*{_ONE}\s*)+)\)\s*=\s*(\(.+\))")
_LABEL = re.compile(r"[A-Z]'?\s*(?=\()")
_MEMBER = re.compile(rf"{_ONE}\s*\\in\s*(\\?\{{.*\}})")


def pointed(text: str) -> list[tuple[str, str]] | None:
    """(name, value) of each coordinate of `(x, y) = (1, 2)`; None if the text is not that."""
    match = _POINT.fullmatch(text)
    sequence = bracketed(match.group(2)) if match else None
    if match is None or sequence is None:
        return None
    names = [name.strip() for name in match.group(1).split(",")]
    return (
        list(zip(names, sequence.parts, strict=True)) if len(names) == len(sequence.parts) else None
    )


def point_of(answer: str) -> str:
    """`(1, 2)` of `(x, y) = (1, 2)` and of a point `P(1, 2)`; else the text itself."""
    point = pointed(answer)
    if point is None:
        return _LABEL.sub("", answer) if _LABEL.match(answer) else answer
    names = [name for name, _ in point]
    if set(names) <= set("xyz") and names != sorted(names):
        return answer  # (y, x) is another point
    return tuple_of(point)


def tuple_of(point: Sequence[tuple[str, str]]) -> str:
    """The values of named coordinates as a tuple."""
    return "(" + ", ".join(value for _, value in point) + ")"


def set_of(answer: str) -> str:
    r"""`\{1, 2\}` of `x \in \{1, 2\}`; else the text itself."""
    match = _MEMBER.fullmatch(answer)
    return match.group(1) if match else answer


def other_names(answer: str, gold: Sequence[str]) -> bool:
    """Whether the values of `answer` stand behind names of which the list `gold` has none."""
    left, right = _bases(split_list(answer)), _bases(gold)
    return bool(left and right and left - right)


def _bases(parts: Sequence[str]) -> set[str]:
    return {n[0].partition("_")[0] for p in parts if (n := named_parts(p)) is not None}


def _sign(signs: dict[str, str], match: re.Match[str]) -> str:
    return signs[match.group(1)]


def spread_of(parts: Sequence[str]) -> list[str]:
    r"""The parts with each `\\pm` as the two numbers that it stands for."""
    spread = []
    for part in parts:
        if not PLUS_MINUS.search(part) or len(part) > LONGEST_SPREAD:
            spread.append(part)
            continue
        for signs in ({"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"}):
            text = PLUS_MINUS.sub(partial(_sign, signs), part)
            spread.append(text.removeprefix("+"))
    return spread


def falling(ends: Sequence[str]) -> bool:
    """Whether the first of two numbers is the larger, so that they are no interval."""
    low, high = exact_value(ends[0]), exact_value(ends[1])
    return low is not None and high is not None and low >= high


_OR = re.compile(r"(?:^|\s)(?:[Oo]r|[Ee]ither)(?:\s|$)|或|\\lor(?![A-Za-z])")


def one_of(text: str) -> bool:
    """Whether parts are joined by "or", so that it is not said that all of them hold."""
    return _OR.search(text) is not None


def undecided(text: str, parts: Sequence[str]) -> bool:
    """Whether words are joined by "or": `red or blue` is no list of both."""
    return one_of(text) and any(
        is_word(p) or (" " in p and bracketed(point_of(p)) is None) for p in parts
    )


def of_two_things(parts: Sequence[str]) -> bool:
    """Whether quantities of different units stand side by side."""
    units = {q.unit.dimensions for p in parts if (q := read_quantity(p)) is not None}
    return len(units) > 1


def matched(left: Sequence[T], right: Sequence[T], same: Callable[[T, T], bool]) -> bool:
    """Whether each of `left` is one of `right`, and none of those is left over."""
    rest = list(right)
    for one in left:
        index = next((i for i, other in enumerate(rest) if same(one, other)), None)
        if index is None:
            return False
        del rest[index]
    return not rest
