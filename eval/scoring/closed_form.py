r"""The value of a closed form: numbers, roots, fractions, powers, pi and e; nothing is evaluated.

A reader of its own, for the answers of DynaMath: `2\sqrt{3}`, `\frac{\pi}{4}`, `\sqrt{2}/2`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

LONGEST = 200  # characters
DEEPEST = 20  # brackets inside of each other

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+|[A-Za-z]+)|(?P<sign>\*\*|[-+*/^(){}\[\]√π]))\s*"
)
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "ln": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
# three and a half, or three halves: not for us to say
_MIXED = re.compile(r"[0-9]\s*\\[dt]?frac\s*(?:\{\s*[0-9]+\s*\}\s*\{\s*[0-9]+\s*\}|[0-9]{2})")
_DROPPED = ("left", "right", "displaystyle")
_SAME = {"cdot": "*", "times": "*", "div": "/", "dfrac": "frac", "tfrac": "frac"}


def value_of(text: str) -> float | None:
    """The value of a whole expression; None if it is anything else, or no real finite number."""
    if len(text) > LONGEST or _MIXED.search(text):
        return None
    reader = _Reader(text)
    try:
        value = reader.sum(0)
        if reader.tokens:
            return None
    except (_NoFormError, ArithmeticError, ValueError):
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


class _NoFormError(Exception):
    pass


class _Reader:
    """Recursive descent; what binds tighter is read by the later method."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self.tokens = ["?"]  # no form
                return
            at = match.end()
            if match["number"]:
                self.tokens.append(match["number"].replace(",", ""))
                continue
            name = (match["command"] or match["sign"]).removeprefix("\\")
            if name not in _DROPPED:
                self.tokens.append(_SAME.get(name, name))

    def take(self, expected: str = "") -> str:
        if not self.tokens or (expected and self.tokens[0] != expected):
            raise _NoFormError
        return self.tokens.pop(0)

    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def sum(self, depth: int) -> float:
        if depth > DEEPEST:
            raise _NoFormError
        sign = -1.0 if self.next() == "-" else 1.0
        if self.next() in ("-", "+"):
            self.take()
        value = sign * self.product(depth)
        while self.next() in ("+", "-"):
            value += (1.0 if self.take() == "+" else -1.0) * self.product(depth)
        return value

    def product(self, depth: int) -> float:
        value = self.power(depth)
        while True:
            if self.next() == "*":
                self.take()
                value *= self.power(depth)
            elif self.next() == "/":
                self.take()
                value /= self.power(depth)
            elif self.next() and self.next() not in ("+", "-", ")", "}", "]", "^", "**"):
                if self.next()[0].isdigit():  # "2 3" is no product
                    raise _NoFormError
                value *= self.power(depth)
            else:
                return value

    def power(self, depth: int) -> float:
        base = self.atom(depth)
        if self.next() not in ("^", "**"):
            return base
        self.take()
        sign = -1.0 if self.next() == "-" else 1.0
        if self.next() == "-":
            self.take()
        exponent = sign * self.atom(depth)
        if abs(exponent) > 1000:
            raise _NoFormError
        raised = base**exponent
        if isinstance(raised, complex):
            raise _NoFormError
        return float(raised)

    def atom(self, depth: int) -> float:
        if depth > DEEPEST:
            raise _NoFormError
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            return float(token)
        if token in ("(", "{", "["):
            value = self.sum(depth + 1)
            self.take({"(": ")", "{": "}", "[": "]"}[token])
            return value
        if token in ("π", *_CONSTANTS):
            return _CONSTANTS.get(token, math.pi)
        if token == "frac":
            top = self.argument(depth)
            return top / self.argument(depth)
        if token in ("sqrt", "√") and self.next() == "[":
            self.take()
            root = self.sum(depth + 1)
            self.take("]")
            return float(self.atom(depth + 1) ** (1 / root))
        if token in ("√", *_FUNCTIONS):
            return _FUNCTIONS["sqrt" if token == "√" else token](self.atom(depth + 1))
        raise _NoFormError

    def argument(self, depth: int) -> float:
        """`{...}`, or a single digit, as LaTeX reads "frac12"."""
        token = self.next()
        if token.isdigit() and len(token) > 1:
            self.tokens[0] = token[1:]
            return float(token[0])
        return self.atom(depth + 1)
