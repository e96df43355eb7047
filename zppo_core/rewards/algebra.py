"""Whether two expressions are one: their values at many points, to hundreds of digits.

Runs in workers alone (`grader.py`), for time is all that bounds it. Rational functions are compared
in exact arithmetic. Others take values from mpmath with more digits than anything in them shows, so
that numbers however small keep their difference. Expressions are functions of real numbers: a point
where one is not defined says nothing, unless that holds for all points; then they are complex.
"""

from __future__ import annotations

import random
from fractions import Fraction

import mpmath

from zppo_core.rewards.expressions import parse, symbols
from zppo_core.rewards.trees import Tree, name_of, number_of, operands_of
from zppo_core.rewards.values import MAX_BITS, Complex, Real, TooLargeError, UndefinedError

DIGITS = 50  # beyond those that the expressions show
MAX_PRECISION = 1500
POINTS = 12


def equal(answer: str, gold: str) -> bool:
    """Whether two cleaned expressions are equal; False if one is none."""
    left, right = parse(answer), parse(gold)
    return left is not None and right is not None and trees_equal(left, right)


def proportional(answer: tuple[str, str], gold: tuple[str, str]) -> bool:
    """Whether two equations (left side, right side) differ by a constant factor alone."""
    sides = [parse(text) for text in (*answer, *gold)]
    if any(side is None for side in sides):
        return False
    a, b, c, d = (side for side in sides if side is not None)
    first, second = ("add", a, ("neg", b)), ("add", c, ("neg", d))
    names = sorted(symbols(first) | symbols(second))
    if not names:
        return False
    # f/g is a constant other than 0 if f(p) g(q) = f(q) g(p) for all p, q
    shift: dict[str, Tree] = {name: ("sym", name + "#") for name in names}
    crossed = ("mul", first, _renamed(second, shift)), ("mul", _renamed(first, shift), second)
    return trees_equal(*crossed) and not _is_zero(first) and not _is_zero(second)


def rounded(answer: str, low: str, high: str) -> bool:
    """Whether a constant expression lies between two rationals ("3/7"), bounds included."""
    value = _constant(answer)
    return value is not None and Fraction(low) <= value <= Fraction(high)


def near_constant(number: str, half_ulp: str, gold: str) -> bool:
    """Whether the irrational constant `gold` rounds to `number`, a rational, as shown."""
    value = _constant(gold)
    return value is not None and abs(Fraction(number) - value) <= Fraction(half_ulp)


def within(answer: str, gold: str, tolerance: str) -> bool:
    """Whether two constants differ by no more than `tolerance` times the gold one."""
    left, right = _constant(answer), _constant(gold)
    return (
        left is not None
        and right is not None
        and abs(left - right) <= Fraction(tolerance) * abs(right)
    )


def _constant(text: str) -> Fraction | None:
    tree = parse(text)
    if tree is None or symbols(tree):
        return None
    with mpmath.workdps(_precision((tree,))):
        try:
            value = Real({}).value(tree)
        except (UndefinedError, ZeroDivisionError):
            return None
        if not mpmath.isfinite(value):
            return None
        return Fraction(*_ratio(mpmath.mpf(value)))


def _ratio(value: mpmath.mpf) -> tuple[int, int]:
    sign, mantissa, exponent, _ = value._mpf_
    mantissa = -int(mantissa) if sign else int(mantissa)
    return (mantissa << exponent, 1) if exponent >= 0 else (mantissa, 1 << -exponent)


def _renamed(tree: Tree, names: dict[str, Tree]) -> Tree:
    if tree[0] == "sym":
        return names[name_of(tree)]
    return tuple(_renamed(part, names) if isinstance(part, tuple) else part for part in tree)


def _is_zero(tree: Tree) -> bool:
    return trees_equal(tree, ("num", Fraction(0)))


def trees_equal(left: Tree, right: Tree) -> bool:
    """Whether two trees have equal values wherever both have one."""
    if left == right:
        return True
    names = sorted(symbols(left) | symbols(right))
    rng = random.Random(20260618)
    if _rational(left) and _rational(right):
        answer = _exactly_equal(left, right, names, rng)
        if answer is not None:
            return answer
    precision = _precision((left, right))
    with mpmath.workdps(precision):
        points = _points(names, rng)
        kinds = [Real] if not (_complex(left) or _complex(right)) else []
        for kind in (*kinds, Complex):
            met = 0
            for point in points:
                verdict = _equal_at(left, right, kind(point), precision)
                if verdict is False:
                    return False
                met += verdict is True
            if met >= min(3, len(points)):
                return True
    return False


def _exactly_equal(left: Tree, right: Tree, names: list[str], rng: random.Random) -> bool | None:
    """Equality of rational functions, tried at random rational points (Schwartz and Zippel)."""
    met = 0
    for _ in range(4):
        point = {n: Fraction(rng.randrange(-(10**6), 10**6), rng.randrange(1, 999)) for n in names}
        try:
            if _rational_value(left, point) != _rational_value(right, point):
                return False
            met += 1
        except ZeroDivisionError:
            continue
    return True if met else None


def _rational(tree: Tree) -> bool:
    if tree[0] in ("num", "sym"):
        return True
    if tree[0] == "pow":
        exponent = _integer(operands_of(tree)[1])
        return exponent is not None and abs(exponent) <= 64 and _rational(operands_of(tree)[0])
    return tree[0] in ("neg", "add", "mul", "div") and all(map(_rational, operands_of(tree)))


def _integer(tree: Tree) -> int | None:
    if tree[0] == "neg":
        inner = _integer(operands_of(tree)[0])
        return None if inner is None else -inner
    return int(number_of(tree)) if tree[0] == "num" and number_of(tree).denominator == 1 else None


def _rational_value(tree: Tree, point: dict[str, Fraction]) -> Fraction:
    kind = tree[0]
    if kind == "num":
        return number_of(tree)
    if kind == "sym":
        return point[name_of(tree)]
    if kind == "pow":
        base, power = operands_of(tree)
        exponent = _integer(power)
        assert exponent is not None
        value = _rational_value(base, point) ** exponent
    else:
        parts = [_rational_value(part, point) for part in operands_of(tree)]
        if kind == "neg":
            return -parts[0]
        if kind == "add":
            value = parts[0] + parts[1]
        else:
            value = parts[0] * parts[1] if kind == "mul" else parts[0] / parts[1]
    if value.numerator.bit_length() > MAX_BITS:
        raise TooLargeError
    return value


def _complex(tree: Tree) -> bool:
    return tree[0] == "i" or any(map(_complex, operands_of(tree)))


def _precision(trees: tuple[Tree, ...]) -> int:
    """Digits to compute with: so many that no number in the trees is lost beside another."""
    total = DIGITS + sum(map(_shown, trees))
    if total > MAX_PRECISION:
        raise TooLargeError
    return int(total)


def _shown(tree: Tree) -> float:
    if tree[0] == "num":
        value = number_of(tree)
        return 0.302 * (value.numerator.bit_length() + value.denominator.bit_length())
    if tree[0] == "pow":
        base, power = operands_of(tree)
        exponent = _integer(power)
        if exponent is not None:
            return min(1e9, abs(exponent) * max(0.5, _shown(base)))
    return sum(map(_shown, operands_of(tree)))


def _points(names: list[str], rng: random.Random) -> list[dict[str, mpmath.mpf]]:
    if not names:
        return [{}]
    ranges = [(0.2, 3.0), (-3.0, 3.0), (0.02, 0.98), (1.5, 9.0)]
    points = [
        {n: mpmath.mpf(rng.uniform(*ranges[i % len(ranges)])) for n in names} for i in range(POINTS)
    ]
    # sequences: (-1)^n and cos(n pi) meet at whole numbers, odd and even ones
    shifts = [rng.randrange(3) for _ in names]
    return points + [
        {n: mpmath.mpf(1 + (i + shift) % 6) for n, shift in zip(names, shifts, strict=True)}
        for i in range(6)
    ]


def _equal_at(left: Tree, right: Tree, at: Real, precision: int) -> bool | None:
    """Whether the values are equal at a point; None if one of them has none there."""
    try:
        x, y = at.value(left), at.value(right)
    except (UndefinedError, ZeroDivisionError):
        return None
    if not mpmath.isfinite(x) or not mpmath.isfinite(y):
        return bool(x == y)
    error, size = abs(x - y), max(abs(x), abs(y), at.largest)
    return bool(error <= size * mpmath.mpf(10) ** (10 - precision + DIGITS // 4))
