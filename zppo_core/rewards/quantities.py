"""Quantities: a number and its unit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from zppo_core.rewards.expressions import has_symbols, parse
from zppo_core.rewards.numbers import Number, numbers_agree, read_number
from zppo_core.rewards.units import CLOSE, CURRENCIES, Unit, product, read_unit, unit_of


@dataclass(frozen=True)
class Quantity:
    """A number with a unit; `number` is None where it is an expression, kept in `text`."""

    number: Number | None
    unit: Unit
    text: str = ""
    parts: int = 1
    extra: tuple[Unit, ...] = field(default=())  # further readings: ¥ is yen and yuan


_MONEY_FIRST = re.compile(
    r"(?P<sign>-?)\s*(?P<unit>US\$|A\$|C\$|HK\$|[$€£¥₹₩₽]|(?:USD|EUR|GBP|CNY|RMB|JPY|INR|Rs\.?)(?=[\s\d]))\s*(?P<rest>-?[\d.].*)"
)
_BOUNDARY = re.compile(
    r"(?<=[\d)}°\s\\/零一二三四五六七八九十百千万亿两])\s*(?=[(\[]?[A-Za-zµμÅ一-鿿°\\$€£¥₹₩₽¢])"
)
_PARTS = re.compile(r"(?:,|\band\b|又)?\s*([\d.,/ ]*\d)\s*([A-Za-z]+|[一-鿿]+)\.?\s*")
_TITLE = re.compile(r"\d+(?: [A-Z][a-z]+){2,}")
_DIFFERENCE = re.compile(r"[\d.,]+\s*-\s*[\d.,]+")
_FEET = re.compile(r"^(\d+)\s*'\s*(\d+(?:\.\d+)?)\s*(?:\"|'')$")
_ARC = re.compile(r"(\d+)\s*°\s*(?:(\d+(?:\.\d+)?)\s*'\s*)?(?:(\d+(?:\.\d+)?)\s*(?:\"|''))?")


@lru_cache(maxsize=1 << 13)
def read_quantity(text: str) -> Quantity | None:
    """The quantity that a cleaned `text` is, whole; None if it is a bare number or no quantity."""
    if len(text) > 160:
        return None
    money = _MONEY_FIRST.fullmatch(text)
    if money:
        return _money(money)
    arc = _ARC.fullmatch(text)
    if arc and (arc.group(2) or arc.group(3)):
        degrees = Fraction(arc.group(1)) + Fraction(arc.group(2) or 0) / 60
        degrees += Fraction(arc.group(3) or 0) / 3600
        return Quantity(Number(degrees), unit_of("°") or Unit(), text)
    splits = [
        (head, unit)
        for head, tail in _tails(text)
        # what is counted stands apart from its number: 0xFF is no quantity
        if (unit := read_unit(tail)) is not None and (unit.is_unit or _apart(text, head, tail))
    ]
    for head, unit in splits:
        number = read_number(head)
        if number is not None and not number.percent and not number.ordinal:
            # a pound is a weight or money
            pounds = text[len(head) :].strip().lower() in ("pound", "pounds")
            extra = tuple(u for u in [unit_of("gbp") if pounds else None] if u)
            return Quantity(number, unit, head, extra=extra)
    whole = _sum(text)
    if whole is not None:
        return whole
    return next(
        (
            Quantity(None, u, head)
            for head, u in splits
            if u.is_unit and _closed(head) and not (u.circle and _of_angle(head))
        ),
        None,
    )


def is_title(text: str) -> bool:
    """Whether a number begins a name and counts nothing: 10 Downing Street."""
    unit = read_unit(text.partition(" ")[2]) if _TITLE.fullmatch(text) else None
    return unit is not None and not unit.is_unit


_TRIG = re.compile(r"(?<!arc)(?:sin|cos|tan|cot|sec|csc)(?:\s*\^\s*(?:\{[^{}]*\}|\d))?(?![a-z])")
_ARGUMENT = re.compile(r"\s*(?:[^(){}+-]|\\[dt]?frac\s*\{[^{}]*\}\s*\{[^{}]*\}|\([^()]*\)$)*")


def _of_angle(text: str) -> bool:
    """Whether a degree sign behind `text` is that of a function's argument: cos 20."""
    functions = list(_TRIG.finditer(text))
    return bool(functions) and _ARGUMENT.fullmatch(text, functions[-1].end()) is not None


def _closed(text: str) -> bool:
    """Whether `text` is an expression without variables, and no range."""
    tree = parse(text)
    return tree is not None and not has_symbols(tree) and not _DIFFERENCE.fullmatch(text)


def _apart(text: str, head: str, tail: str) -> bool:
    return len(head) + len(tail) < len(text) or not tail.isascii()


def _tails(text: str) -> list[tuple[str, str]]:
    """(number, unit) splits of `text`, longest unit first."""
    splits = []
    for boundary in _BOUNDARY.finditer(text, 1):
        head, tail = text[: boundary.start()].rstrip(), text[boundary.end() :]
        letter = len(tail) == 1 and tail.isascii() and tail.isalpha()
        apart = boundary.start() != boundary.end() or text[boundary.start() - 1] == " "
        if letter and not apart and tail not in CLOSE:
            continue
        if tail[:1] + tail[-1:] in ("()", "[]"):
            tail = tail[1:-1].strip()
        if head.endswith("/"):
            head, tail = head[:-1].rstrip(), "/" + tail
        if head and tail:
            splits.append((head, tail))
        if len(splits) == 8:
            break
    return splits


def _money(match: re.Match[str]) -> Quantity | None:
    name = match["unit"].rstrip(".")
    names = ["yen", "yuan"] if name == "¥" else [name]
    units = [u for n in names if (u := unit_of(n)) is not None]
    rest = match["rest"]
    number = read_number(rest)
    if number is None:
        split = next((t for t in _tails(rest) if read_number(t[0])), None)
        if split is None:
            return None
        number, per = read_number(split[0]), split[1]
        other = read_unit(per)
        if number is None or other is None:
            return None
        if not per.lower().startswith(("per", "/")) and other.dimensions != units[0].dimensions:
            return None
        if other.dimensions != units[0].dimensions:
            units = [product(u, other) for u in units]
    if number.percent:
        return None
    if match["sign"]:
        number = number.scaled(Fraction(-1))
    return Quantity(number, units[0], rest, extra=tuple(units[1:]))


def _sum(text: str) -> Quantity | None:
    """`1 hour 30 minutes`, `5 ft 3 in`, `5'3"`: a sum of quantities of one dimension."""
    text = _FEET.sub(r"\1 ft \2 in", text)
    total, place, parts, last = Fraction(0), 0, 0, Fraction(0)
    first: Unit | None = None
    while place < len(text):
        match = _PARTS.match(text, place)
        if match is None:
            return None
        number, unit = read_number(match.group(1).strip()), unit_of(match.group(2))
        if number is None or unit is None or not unit.is_unit or unit.offset or number.value < 0:
            return None
        if first is None:
            first = unit
        elif unit.dimensions != first.dimensions or unit.factor >= last:
            return None
        total += number.value * unit.factor
        last, place, parts = unit.factor, match.end(), parts + 1
    if first is None or parts < 2:
        return None
    return Quantity(Number(total / first.factor), first, text, parts)


def comparable(answer: Unit, gold: Unit) -> bool:
    """Whether quantities of the two units can be equal."""
    if answer.dimensions == gold.dimensions:
        return True
    if gold.offset and answer.circle:  # "20°" where the question asks for a temperature
        return True
    counted = ("item", 1)
    return (not answer.is_unit and gold.dimensions == (counted,)) or (
        not gold.is_unit and answer.dimensions == (counted,)
    )


def quantities_agree(answer: Quantity, gold: Quantity, tolerance: float | None = None) -> bool:
    """Whether two quantities with numbers are one, in the unit of `gold`."""
    if answer.number is None or gold.number is None:
        return False
    money = answer.unit.dimensions
    if len(money) == 1 and money[0][0] in CURRENCIES and set(money) < set(gold.unit.dimensions):
        return numbers_agree(answer.number, gold.number, tolerance)  # "per month" is left out
    for left in (answer.unit, *answer.extra):
        for right in (gold.unit, *gold.extra):
            if comparable(left, right) and _same(answer, left, gold, right, tolerance):
                return True
    return False


def _same(
    answer: Quantity, left: Unit, gold: Quantity, right: Unit, tolerance: float | None
) -> bool:
    assert answer.number is not None
    assert gold.number is not None
    if left.circle and not right.circle:
        left = right
    if left.factor == right.factor and left.offset == right.offset:
        return numbers_agree(answer.number, gold.number, tolerance)
    base = answer.number.value * left.factor + left.offset
    converted = answer.number.scaled(left.factor / right.factor)
    converted = Number((base - right.offset) / right.factor, converted.ulp, converted.digits)
    if numbers_agree(converted, gold.number, tolerance):
        return True
    # a conversion is rounded to what the answer shows: 8.05 km are 5 miles
    error = abs(converted.value - gold.number.value)
    return converted.ulp is not None and converted.digits >= 3 and 2 * error <= converted.ulp


def unit_can_be_left_out(unit: Unit) -> bool:
    """Whether a number without this unit means the same: not for a factor alone, as a dozen."""
    return bool(unit.dimensions)
