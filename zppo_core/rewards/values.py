"""The value of an expression at one point, real or complex, by mpmath. Workers alone import it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mpmath

from zppo_core.rewards.trees import Tree, name_of, number_of, operands_of

MAX_BITS = 200_000  # of any value on the way


class TooLargeError(ArithmeticError):
    """A value is too large to be computed: the comparison is given up, as at the time limit."""


class UndefinedError(ArithmeticError):
    """The expression has no value here."""


class Real:
    """Values at one point among the real numbers."""

    def __init__(self, point: Mapping[str, mpmath.mpf]) -> None:
        self.point = point
        # of the values that were added: what cancellation leaves is dust
        self.largest: mpmath.mpf | int = 0

    def value(self, tree: Tree) -> mpmath.mpf:
        kind = str(tree[0])
        if kind == "num":
            number = number_of(tree)
            return mpmath.mpf(number.numerator) / number.denominator
        if kind == "sym":
            return self.point[name_of(tree)]
        if kind in ("pi", "e"):
            return +(mpmath.pi if kind == "pi" else mpmath.e)
        if kind == "inf":
            raise UndefinedError  # no number: "no -\\infty" would be infinite as well
        if kind == "i":
            return self.imaginary()
        if kind == "fn":
            return self.function(name_of(tree), self.value(operands_of(tree)[0]))
        parts = [self.value(part) for part in operands_of(tree)]
        result = self.combine(kind, parts)
        if mpmath.isfinite(result) and _log2(result) > MAX_BITS:
            raise TooLargeError
        return result

    def imaginary(self) -> mpmath.mpf:
        raise UndefinedError

    def combine(self, kind: str, parts: list[mpmath.mpf]) -> mpmath.mpf:
        x, y = parts[0], parts[-1]
        if kind == "neg":
            return -x
        if kind == "add":
            self.largest = max(self.largest, min(abs(x), abs(y)) if abs(x + y) < abs(x) else 0)
            return x + y
        if kind == "mul":
            return x * y
        if kind == "div":
            if y == 0:
                raise UndefinedError
            return x / y
        if kind == "abs":
            return abs(x)
        if kind in ("floor", "ceil"):
            return mpmath.floor(x) if kind == "floor" else mpmath.ceil(x)
        if kind == "pow":
            return self.power(x, y)
        if kind == "root":
            return self.root(x, y)
        if kind == "log":
            return self.logarithm(x) / self.logarithm(y)
        return _counted(kind, x, y)

    def power(self, x: mpmath.mpf, y: mpmath.mpf) -> mpmath.mpf:
        if x == 0 and y <= 0:
            raise UndefinedError
        if x < 0 and y != mpmath.floor(y):
            raise UndefinedError
        finite = mpmath.isfinite(x) and mpmath.isfinite(y) and x != 0
        if finite and (abs(y) > MAX_BITS or abs(y * mpmath.log(abs(x), 2)) > MAX_BITS):
            raise TooLargeError
        return mpmath.power(x, y)

    def root(self, x: mpmath.mpf, degree: mpmath.mpf) -> mpmath.mpf:
        if degree == 0:
            raise UndefinedError
        if x < 0:
            if degree == mpmath.floor(degree) and int(degree) % 2 == 1:
                return -mpmath.power(-x, 1 / degree)
            raise UndefinedError
        return mpmath.sqrt(x) if degree == 2 else mpmath.power(x, 1 / degree)

    def logarithm(self, x: mpmath.mpf) -> mpmath.mpf:
        if x <= 0:
            raise UndefinedError
        return mpmath.log(x)

    def function(self, name: str, x: mpmath.mpf) -> mpmath.mpf:
        if name in ("ln", "log"):
            return self.logarithm(x)
        if name in ("arcsin", "arccos") and abs(x) > 1:
            raise UndefinedError
        if not mpmath.isfinite(x):
            raise UndefinedError
        if _log2(x) > 2000:
            raise TooLargeError
        result = _function(name)(x)
        if 0 < abs(result) < mpmath.mpf(10) ** (-mpmath.mp.dps // 2):
            self.largest = max(self.largest, 1)  # sin(pi) is dust
        return result


class Complex(Real):
    """Values at one point among the complex numbers, on principal branches."""

    def value(self, tree: Tree) -> mpmath.mpc:
        return mpmath.mpmathify(super().value(tree))

    def imaginary(self) -> mpmath.mpc:
        return mpmath.mpc(0, 1)

    def power(self, x: mpmath.mpc, y: mpmath.mpc) -> mpmath.mpc:
        if x == 0:
            raise UndefinedError
        if abs(y) > MAX_BITS or abs(y * mpmath.log(x)) > MAX_BITS:
            raise TooLargeError
        return mpmath.power(x, y)

    def root(self, x: mpmath.mpc, degree: mpmath.mpc) -> mpmath.mpc:
        return mpmath.sqrt(x) if degree == 2 else mpmath.power(x, 1 / degree)

    def logarithm(self, x: mpmath.mpc) -> mpmath.mpc:
        if x == 0:
            raise UndefinedError
        return mpmath.log(x)


def _log2(x: mpmath.mpf) -> float:
    return 0.0 if x == 0 else float(mpmath.mag(x))


def _counted(kind: str, n: mpmath.mpf, k: mpmath.mpf) -> mpmath.mpf:
    if n.imag != 0 or n < 0 or n != mpmath.floor(n):
        raise UndefinedError
    if n > 3000:
        raise TooLargeError
    if kind == "fac":
        return mpmath.factorial(n)
    if kind == "fac2":
        return mpmath.fac2(n)
    if k.imag != 0 or k < 0 or k != mpmath.floor(k):
        raise UndefinedError
    return mpmath.binomial(n, k)


_INVERSE = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}


def _function(name: str) -> Callable[[mpmath.mpf], mpmath.mpf]:
    function: Callable[[mpmath.mpf], mpmath.mpf] = getattr(mpmath, _INVERSE.get(name, name))
    return function
