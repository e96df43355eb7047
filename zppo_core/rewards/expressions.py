"""Mathematics as a tree: reading it, its variables, and small exact arithmetic.

Nothing else is evaluated here; `algebra.py` does that, in workers.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, isqrt

from zppo_core.rewards.parser import LONGEST, NotMathsError, Parser
from zppo_core.rewards.trees import Tree, name_of, number_of, operands_of

EXACT_BITS = 4096
_ITEMS = re.compile(r"\(1\)\s?\S.*\s\(2\)")  # "(1) x (2) y" are two answers and no product
_TERM = r"\s*(?:\{([^{}]{1,8})\}|(\w))\s*"
_CHOOSE = re.compile(rf"(?:\{{\s*\}})?[_^]{_TERM}C\s*_{_TERM}|(?<![A-Za-z])C\s*\^{_TERM}_{_TERM}")


def _binomial_of(match: re.Match[str]) -> str:
    """`\\binom{5}{2}` for _5C_2, ^5C_2 and C^2_5; a power before the constant C_1 stays."""
    whole, before = match.group(), match.string[: match.start()].rstrip()
    first, second = [group for group in match.groups() if group]
    n, k = (second, first) if whole.startswith("C") else (first, second)
    power = whole[0] in "_^" and re.search(r"[\w)}\]]$", before)  # e^xC_1
    constant = whole.startswith("C") and n.isdigit() and k.isdigit() and int(k) > int(n)  # C^2_1
    return whole if power or constant else rf"\binom{{{n}}}{{{k}}}"


@lru_cache(maxsize=1 << 12)
def parse(text: str) -> Tree | None:
    r"""The tree of a cleaned `text`; None if any part of it is unknown. It has no \pm."""
    if not text or len(text) > LONGEST or (text.startswith("(1)") and _ITEMS.match(text)):
        return None
    if "C" in text:
        text = _CHOOSE.sub(_binomial_of, text)
    parser = Parser(text)
    try:
        tree = parser.sum()
        parser.space()
    except (NotMathsError, RecursionError):
        return None
    return tree if parser.place == len(text) else None


def has_symbols(tree: Tree) -> bool:
    """Whether a tree has variables."""
    return bool(symbols(tree))


def symbols(tree: Tree) -> set[str]:
    """The names of the variables in a tree."""
    if tree[0] == "sym":
        return {name_of(tree)}
    return {name for part in operands_of(tree) for name in symbols(part)}


def is_word(text: str) -> bool:
    """Whether `text` is letters alone, of which algebra would make a product."""
    return len(text) > 1 and text.isalpha()


def exact(tree: Tree) -> Fraction | None:
    """The rational value of a tree of small rational arithmetic; None for anything else."""
    kind = str(tree[0])
    if kind == "num":
        return number_of(tree)
    if kind not in ("neg", "add", "mul", "div", "pow", "abs", "root", "fac", "binom"):
        return None
    operands = [exact(part) for part in operands_of(tree)]
    if any(o is None for o in operands):
        return None
    return _arithmetic(kind, [o for o in operands if o is not None])


def _arithmetic(kind: str, operands: list[Fraction]) -> Fraction | None:
    left, right = operands[0], operands[-1]
    result: Fraction | None = None
    if kind == "neg":
        result = -left
    elif kind == "abs":
        result = abs(left)
    elif kind == "add":
        result = left + right
    elif kind == "mul":
        result = left * right
    elif kind == "div":
        result = left / right if right else None
    elif kind == "root":
        result = _root(left, right)
    elif kind == "fac":
        result = _factorial(left)
    elif kind == "binom":
        result = _binomial(left, right)
    elif right.denominator != 1:  # a power
        result = None
    elif abs(right) * max(_bits(left), 1) <= EXACT_BITS:
        result = left ** int(right) if left or right > 0 else None
    return result if result is not None and _bits(result) <= EXACT_BITS else None


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _factorial(value: Fraction) -> Fraction | None:
    small = value.denominator == 1 and 0 <= value <= 200
    return Fraction(factorial(int(value))) if small else None


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
    small = n.denominator == k.denominator == 1 and 0 <= n <= 300 and 0 <= k <= 300
    return Fraction(comb(int(n), int(k))) if small else None


def _root(value: Fraction, degree: Fraction) -> Fraction | None:
    if degree != 2 or value < 0:
        return None
    top, bottom = isqrt(value.numerator), isqrt(value.denominator)
    root = Fraction(top, bottom)
    return root if root * root == value else None
