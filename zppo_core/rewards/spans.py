"""Ratios, ranges, scores and numbers in a base: figures that are no arithmetic."""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.answers import Context
from zppo_core.rewards.expressions import parse
from zppo_core.rewards.moments import read_date, read_time, times_agree
from zppo_core.rewards.named import exact_value, named_value
from zppo_core.rewards.numbers import read_number
from zppo_core.rewards.quantities import read_quantity
from zppo_core.rewards.scalars import equals_number, expression, quantity
from zppo_core.rewards.shapes import bracketed

_BASE = re.compile(
    r"\(?([0-9A-Za-z]+(?:\.[0-9A-Za-z]+)?)\)?\s*_\s*\{?\s*\(?(\d{1,2}|[a-z]+)\)?\s*\}?"
)
_PREFIXED = re.compile(r"0([bxo])([0-9A-Fa-f]+)", re.IGNORECASE)
_DIGIT = "0123456789abcdefghijklmnopqrstuvwxyz"


def read_base(text: str) -> tuple[str, int] | None:
    """(digits, base) of `1011_2`, `-2A_{16}` or `0b1010`; None for anything else."""
    if text.startswith("-"):
        positive = read_base(text[1:].lstrip()) if not text.startswith("--") else None
        return None if positive is None else ("-" + positive[0], positive[1])
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed:
        digits, base = prefixed.group(2), {"b": 2, "o": 8, "x": 16}[prefixed.group(1).lower()]
    else:
        match = _BASE.fullmatch(text)
        if match is None or (
            not any(c.isdigit() for c in match.group(1)[:1])
            and not (match.group(2) == "16" and len(match.group(1)) > 1)
        ):
            return None
        digits, name = match.groups()
        number = read_number(name)
        base = int(number.value) if number is not None and number.value < 99 else 0
    digits = digits.lower()
    if not 2 <= base <= 36 or any(c not in _DIGIT[:base] for c in digits.replace(".", "")):
        return None
    return digits.lstrip("0") or "0", base


def base(answer: str, gold: str, context: Context) -> bool | None:
    """A number in a base: the same digits in the same base; the base may be left out."""
    right = read_base(gold)
    if right is None:
        return None
    left = read_base(answer)
    if left is not None:
        return left == right
    bare = answer.replace(" ", "").lower()
    sign = "-" if bare.startswith("-") else ""
    return sign + (bare[len(sign) :].lstrip("0") or "0") == right[0]


_RATIO = re.compile(r"[^:]+(?:\s*:\s*[^:]+){1,5}")


def _ratio(text: str) -> list[Fraction] | None:
    if not _RATIO.fullmatch(text) or len(text) > 100:
        return None
    values = [exact_value(part.strip()) for part in text.split(":")]
    return None if any(v is None for v in values) else [v for v in values if v is not None]


def ratio(answer: str, gold: str, context: Context) -> bool | None:
    """A ratio or score: term by term, for a score of 4:2 is none of 2:1."""
    right = _ratio(gold)
    if right is None:
        return _ratio_of_expressions(answer, gold, context)
    value = named_value(answer) or _of_names(answer, len(right))
    return _ratio(_colons(value if value is not None else answer, len(right))) == right


_RATIO_NAME = re.compile(
    r"(?:\\angle\s*)?[A-Za-z]{1,4}(?:_\{?\w\}?)?'?(?:\s*:\s*(?:\\angle\s*)?[A-Za-z]{1,4}(?:_\{?\w\}?)?'?)+"
)


def _of_names(text: str, terms: int) -> str | None:
    """The ratio behind one of as many names: `1:2` of `AB:BC = 1:2`."""
    names, equal, value = text.partition("=")
    names = names.strip()
    if not equal or names.count(":") != terms - 1 or not _RATIO_NAME.fullmatch(names):
        return None
    return value.strip()


def _ratio_of_expressions(answer: str, gold: str, context: Context) -> bool | None:
    right = [part.strip() for part in gold.split(":")]
    if len(right) < 2 or any(parse(part) is None for part in right):
        return None
    left = [part.strip() for part in answer.split(":")]
    return len(left) == len(right) and all(
        expression(a, b, context) for a, b in zip(left, right, strict=True)
    )


def _colons(answer: str, terms: int) -> str:
    return re.sub(r"\s+to\s+", ":", answer) if terms == 2 else answer


def proportion(answer: str, gold: str, context: Context) -> bool | None:
    """A ratio by the corpus' word: 4:6 and 2/3 are 2:3."""
    right = _ratio(gold)
    if right is None:
        return None
    left = _ratio(_colons(answer, len(right)))
    if left is None and len(right) == 2 and right[1]:
        value = exact_value(answer)
        return value is not None and value == right[0] / right[1]
    if left is None or len(left) != len(right):
        return False
    return all(a * right[0] == b * left[0] for a, b in zip(left, right, strict=True)) and any(left)


_SEPARATOR = re.compile(
    r"\s*-\s*|\s*~\s*|\s+to\s+|\s*[至到]\s*|\s+through\s+|\s+until\s+|\s*\\sim\s*"
)
_BETWEEN = re.compile(
    r"(?:is\s+)?(?:between|from|从)\s*(.+?)\s*(?:and|to|-|到|至)\s*(.+)", re.IGNORECASE
)
_PLAIN_END = re.compile(r"-?\$?\d[\d,.]*\s?%?|\d{1,2}:\d{2}.*")


def span(answer: str, gold: str, context: Context) -> bool | None:
    """A range or score `25-34`: end by end, never the difference."""
    right = read_span(gold)
    if right is None:
        return None
    value = named_value(answer)
    answer = value if value is not None else answer
    left = read_span(answer) or _closed(answer)
    if left is None:
        return False
    return all(_ends_agree(a, b, context) for a, b in zip(left, right, strict=True))


def _closed(answer: str) -> tuple[str, str] | None:
    sequence = bracketed(answer)
    if sequence is None or sequence.brackets != "[]" or len(sequence.parts) != 2:
        return None
    return sequence.parts[0], sequence.parts[1]


def _ends_agree(left: str, right: str, context: Context) -> bool:
    if left == right:
        return True
    x, y = read_time(left), read_time(right)
    if x is not None and y is not None:
        return times_agree(x, y)
    if read_date(right) is not None:
        return read_date(left) == read_date(right)
    if read_quantity(right) is not None:
        return bool(quantity(left, right, context))
    number_right = read_number(right)
    return number_right is not None and equals_number(left, right, number_right, context)


def read_span(text: str) -> tuple[str, str] | None:
    """The two ends of a range; a unit behind the second holds for the first too."""
    if len(text) > 80:
        return None
    between = _BETWEEN.fullmatch(text)
    if between:
        pair = _span_ends(between.group(1), between.group(2))
        if pair:
            return pair
    for match in list(_SEPARATOR.finditer(text, 1))[:6]:
        pair = _span_ends(text[: match.start()].strip(), text[match.end() :].strip())
        if pair:
            return pair
    return None


def _span_ends(low: str, high: str) -> tuple[str, str] | None:
    if not low or not high or (not low[0].isalnum() and low[0] not in "-$€£¥"):
        return None
    if _is_end(low) and _is_end(high):
        tail = read_quantity(high)
        if (
            tail is not None
            and tail.number is not None
            and read_quantity(low) is None
            and read_number(low)
        ):
            unit = high[len(tail.text) :].strip() if high.startswith(tail.text) else ""
            low = f"{low} {unit}".strip() if unit else low
        if high.endswith("%") and not low.endswith("%"):
            low += "%"
        clock = read_time(high)
        if clock is not None and clock.half and read_number(low) is not None:
            low = f"{low} {'AM' if clock.half == 'a' else 'PM'}"
        return low, high
    return None


def _is_end(text: str) -> bool:
    if _PLAIN_END.fullmatch(text) and read_number(text) is not None:
        return True
    if read_time(text) is not None or read_date(text) is not None:
        return True
    measured = read_quantity(text)
    return (
        measured is not None
        and measured.number is not None
        and "\\" not in measured.text
        and "/" not in measured.text
    )
