"""Single values: numbers, quantities, expressions.

Each comparison takes cleaned texts and gives None if the gold answer is not of its kind.
"""

from __future__ import annotations

import re
from fractions import Fraction

from zppo_core.rewards.answers import Context, interval_of
from zppo_core.rewards.expressions import exact, has_symbols, is_word, parse, symbols
from zppo_core.rewards.named import is_literal, looks_literal, named_value
from zppo_core.rewards.numbers import ROUNDED_DIGITS, Number, numbers_agree, read_number, unwrapped
from zppo_core.rewards.quantities import (
    Quantity,
    is_title,
    quantities_agree,
    read_quantity,
    unit_can_be_left_out,
)
from zppo_core.rewards.trees import Tree
from zppo_core.rewards.units import Unit
from zppo_core.rewards.words import names_agree


def number(answer: str, gold: str, context: Context) -> bool | None:
    """A plain number, with whatever unit or name the answer adds."""
    right = read_number(gold)
    if right is None or (is_literal(gold) and not right.ordinal):
        return None
    return equals_number(answer, gold, right, context)


def forced_number(answer: str, gold: str, context: Context) -> bool | None:
    """A number by the corpus' word: `007` is 7."""
    right = read_number(gold)
    return None if right is None else equals_number(answer, gold, right, context)


_DECIMAL_COMMA = re.compile(r"-?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))%?")


def equals_number(answer: str, text: str, gold: Number, context: Context) -> bool:
    """Whether `answer` is the number `gold`, written as `text`."""
    tolerance = context.spec.tolerance
    answer = unwrapped(answer)
    left = read_number(answer)
    if left is not None:
        return numbers_agree(left, gold, tolerance)
    if gold.value.denominator != 1 and _DECIMAL_COMMA.fullmatch(answer):
        return equals_number(answer.replace(",", "."), text, gold, context)
    value = named_value(answer)
    if value is not None and value != answer:
        return equals_number(value, text, gold, context)
    quantity = read_quantity(answer)
    if quantity is not None and quantity.parts == 1 and unit_can_be_left_out(quantity.unit):
        if gold.percent or gold.ordinal:
            return False
        if quantity.number is not None:
            return numbers_agree(quantity.number, gold, tolerance)
        if quantity.unit.is_unit and quantity.text != answer:
            return equals_number(quantity.text, text, gold, context)
    if looks_literal(answer) or is_word(answer):
        return False
    tree = parse(answer)
    if tree is None or has_symbols(tree):
        return False
    result = exact(tree)
    if result is not None:
        return numbers_agree(Number(result), gold, tolerance)
    if tolerance is not None:
        return context.call(
            "rounded", answer, *interval_of(gold.value, Fraction(tolerance) * abs(gold.value))
        )
    if gold.ulp is not None and gold.digits >= 2:
        return context.call("rounded", answer, *interval_of(gold.value, gold.ulp / 2))
    return context.call("equal", answer, f"({gold.value.numerator})/({gold.value.denominator})")


def quantity(answer: str, gold: str, context: Context) -> bool | None:
    """A number with a unit, money, degrees, a duration."""
    right = read_quantity(gold)
    if right is None or is_title(gold):
        return None
    tolerance = context.spec.tolerance
    value = named_value(answer)
    answer = value if value is not None else answer
    left = read_quantity(answer)
    if left is not None and not (left.number is None and not left.unit.is_unit):
        if left.number is not None and right.number is not None:
            return quantities_agree(left, right, tolerance)
        text = _in_unit(left, right.unit)
        return text is not None and expression(text, right.text, context) is True
    if not unit_can_be_left_out(right.unit) or right.parts > 1:
        return False
    if right.unit.circle and "\\pi" in answer:
        return context.call("equal", answer, f"({right.text})*\\pi/180") if parse(answer) else False
    plain = read_number(answer)
    if plain is not None and plain.percent:
        return False
    if right.number is None:
        return expression(answer, right.text, context) is True
    return equals_number(answer, right.text, right.number, context)


def _in_unit(answer: Quantity, unit: Unit) -> str | None:
    """The expression that `answer` is in `unit`; None if it cannot be told in it."""
    given_unit, radian = answer.unit, (("radian", 1),)
    if given_unit.circle and unit.dimensions == radian and unit.factor == 1:
        return f"({answer.text})*\\pi/180"
    if unit.circle and given_unit.dimensions == radian and given_unit.factor == 1:
        return f"({answer.text})*180/\\pi"
    if given_unit.dimensions != unit.dimensions or given_unit.offset != unit.offset:
        return None
    scale = given_unit.factor / unit.factor
    if scale == 1:
        return answer.text
    return None if given_unit.offset else f"({answer.text})*{scale.numerator}/{scale.denominator}"


_OPERATOR = re.compile(r"[\\^_+*/=(-]|\d")
# words of which algebra would make a product or a difference: "red bag", "ice-fog"
_WORDS = re.compile(r"(?=.*[A-Za-z]{2})[A-Za-z]+(?:[ -][A-Za-z]+)+")
_CONSTANT, _SMALL_CONSTANT = re.compile(r"\+\s*C$"), re.compile(r"\+\s*c$")  # of an integral
_VARIABLES = re.compile(r"[u-z]{2,3}")


def expression(answer: str, gold: str, context: Context) -> bool | None:
    """A value or a formula, by algebra where both sides are mathematics as a whole."""
    tree = parse(gold)
    if tree is None or _WORDS.fullmatch(gold) or (is_word(gold) and len(gold) > 3):
        return None
    value = named_value(answer)
    answer = unwrapped(value if value is not None else answer)
    if _WORDS.fullmatch(answer):
        return names_agree(answer, gold)
    if _CONSTANT.search(gold) and symbols(tree) & set("xyztu") and "c" not in symbols(tree):
        answer = _SMALL_CONSTANT.sub("+ C", answer)
    if _VARIABLES.fullmatch(gold) and _VARIABLES.fullmatch(answer):
        return sorted(answer) == sorted(gold)
    apart = is_word(gold) and re.fullmatch(r"[A-Za-z](?: [A-Za-z])+", answer) is not None
    if not apart and _beside_a_word(answer, gold):
        return names_agree(answer, gold)
    left = parse(answer)
    if left is None or (symbols(left) - symbols(tree) and read_quantity(answer) is not None):
        return _with_unit(answer, gold, tree, context)
    if left == tree:
        return True
    x, y = exact(left), exact(tree)
    if x is not None and looks_literal(answer):
        return False
    if y is not None:
        number = read_number(answer)
        if number is not None:
            return numbers_agree(number, Number(y), context.spec.tolerance)
        if x is not None:
            return x == y
    elif x is not None and not has_symbols(tree):
        return _rounds_to(answer, gold, context)
    if x is not None and has_symbols(tree) and left[0] == "num":
        return False
    if context.spec.tolerance is not None and not has_symbols(tree) and not has_symbols(left):
        return context.call("within", answer, gold, str(Fraction(context.spec.tolerance)))
    return context.call("equal", answer, gold)


def _beside_a_word(answer: str, gold: str) -> bool:
    """Whether one side is a word and nothing on the other tells that it is a product.

    "cab" is no product of a, b and c.
    """
    for word, other in ((gold, answer), (answer, gold)):
        if is_word(word) and not _OPERATOR.search(other):
            return True
    return False


def _rounds_to(answer: str, gold: str, context: Context) -> bool:
    """A decimal of many digits for an irrational constant."""
    number = read_number(answer)
    if context.spec.tolerance is not None:
        return context.call("within", answer, gold, str(Fraction(context.spec.tolerance)))
    if number is None or number.ulp is None:
        return context.call("equal", answer, gold)
    if number.digits < ROUNDED_DIGITS:
        return False
    return context.call("near_constant", str(number.value), str(number.ulp / 2), gold)


def _with_unit(answer: str, gold: str, tree: Tree, context: Context) -> bool:
    """`6 \\pi` with centimetres behind it, or 60 degrees for `\\pi/3`."""
    measured = read_quantity(answer)
    if measured is None or not measured.unit.is_unit or not unit_can_be_left_out(measured.unit):
        return names_agree(answer, gold)
    if measured.unit.circle and "\\pi" in gold and not has_symbols(tree):
        return context.call("equal", f"({measured.text})*\\pi/180", gold)
    return bool(measured.text != answer and expression(measured.text, gold, context))
