"""What is asked about the digits: kinds of question of two worlds, each with its procedures.

In the world `nano` a student is right now and then on every kind. In the world `zone` it is right
on the easy kinds and never on the hard ones: there the wrong procedure and the right one give
numbers on different sides of ten, so that no slip in reading makes a wrong procedure right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Procedure = Literal["right", "wrong"]
World = Literal["nano", "zone"]
Solve = Callable[[tuple[int, ...], int], tuple[str, int]]
TEN = 10


@dataclass(frozen=True)
class QuestionKind:
    """How a kind is asked, and its right and its wrong procedure: (working, answer) of digits.

    A procedure announces itself by its first word: that one token is the choice that reinforcement
    learning can mend.
    """

    ask: str  # {where} and {c} are filled in
    right: Solve
    wrong: Solve
    # whether a question is asked only where the two answers lie on different sides of ten
    apart: bool = False

    def asks(self, digits: tuple[int, ...], constant: int) -> bool:
        """Whether this kind is asked about these digits."""
        if not self.apart:
            return True
        right, wrong = (solve(digits, constant)[1] for solve in (self.right, self.wrong))
        return (right < TEN) != (wrong < TEN)


def _running(digits: tuple[int, ...]) -> str:
    return " ".join(str(sum(digits[: i + 1])) for i in range(len(digits)))


def _sum(word: str, digits: tuple[int, ...]) -> tuple[str, int]:
    return f"{word} {_running(digits) if digits else 'none'}", sum(digits)


def _of(word: str, *numbers: int) -> tuple[str, int]:
    return f"{word} {' '.join(map(str, numbers))}", numbers[-1]


KINDS: dict[str, QuestionKind] = {
    "max": QuestionKind(
        "What is the largest digit {where}?",
        lambda d, c: _of("largest", max(d)),
        lambda d, c: _of("last", d[-1]),
    ),
    "count": QuestionKind(
        "How many digits {where} are greater than {c}?",
        lambda d, c: _of("greater", *[x for x in d if x > c], sum(x > c for x in d)),
        lambda d, c: _of("smaller", *[x for x in d if x < c], sum(x < c for x in d)),
    ),
    "diff": QuestionKind(
        "How far apart are the first and the last digit {where}?",
        lambda d, c: _of("apart", d[0], d[-1], abs(d[0] - d[-1])),
        lambda d, c: _of("both", d[0], d[-1], d[0] + d[-1]),
    ),
    "evens": QuestionKind(
        "What is the sum of the even digits {where}?",
        lambda d, c: _sum("even", tuple(x for x in d if x % 2 == 0)),
        lambda d, c: _sum("odd", tuple(x for x in d if x % 2)),
    ),
    "prod": QuestionKind(
        "What is the last digit of the first times the last digit {where}?",
        lambda d, c: _of("times", d[0], d[-1], d[0] * d[-1] % 10),
        lambda d, c: _of("plus", d[0], d[-1], (d[0] + d[-1]) % 10),
    ),
    "sum": QuestionKind(
        "What is the sum of the digits {where}?",
        lambda d, c: _sum("sum", d),
        lambda d, c: _of("largest", max(d)),
    ),
    # never trained: they show what carries over
    "min": QuestionKind(
        "What is the smallest digit {where}?",
        lambda d, c: _of("smallest", min(d)),
        lambda d, c: _of("last", d[-1]),
    ),
    "odds": QuestionKind(
        "What is the sum of the odd digits {where}?",
        lambda d, c: _sum("odd", tuple(x for x in d if x % 2)),
        lambda d, c: _sum("even", tuple(x for x in d if x % 2 == 0)),
    ),
    "ends": QuestionKind(
        "What is the sum of the first and the last digit {where}?",
        lambda d, c: _of("both", d[0], d[-1], d[0] + d[-1]),
        lambda d, c: _of("apart", d[0], d[-1], abs(d[0] - d[-1])),
    ),
}
TRAINED_KINDS = ("max", "count", "diff", "evens", "prod", "sum")
NEW_KINDS = ("min", "odds", "ends")


def _joined(word: str, a: int, b: int) -> tuple[str, int]:
    """Two digits side by side: never below ten, unless the first is read as 0."""
    return f"{word} {a} {b} {10 * a + b}", 10 * a + b


# by depth: one addition; one product; two searches and a difference; filtered and whole sums. Each
# wrong procedure is one that the student carries out well: a right one of an easy kind, or two
# digits side by side
ZONE_HARD: dict[str, QuestionKind] = {
    "ends": QuestionKind(KINDS["ends"].ask, KINDS["ends"].right, KINDS["diff"].right, apart=True),
    "prod": QuestionKind(
        KINDS["prod"].ask, KINDS["prod"].right, lambda d, c: _joined("and", d[0], d[-1]), apart=True
    ),
    "span": QuestionKind(
        "How far apart are the largest and the smallest digit {where}?",
        lambda d, c: _of("far", max(d), min(d), max(d) - min(d)),
        lambda d, c: _joined("from", max(d), min(d)),
        apart=True,
    ),
    "evens": QuestionKind(
        KINDS["evens"].ask, KINDS["evens"].right, lambda d, c: _of("last", d[-1]), apart=True
    ),
    "over": QuestionKind(
        "What is the sum of the digits {where} greater than {c}?",
        lambda d, c: _sum("only", tuple(x for x in d if x > c)),
        KINDS["count"].right,
        apart=True,
    ),
    "sum": QuestionKind(KINDS["sum"].ask, KINDS["sum"].right, KINDS["max"].right, apart=True),
    # never asked in training
    "odds": QuestionKind(KINDS["odds"].ask, KINDS["odds"].right, KINDS["min"].right, apart=True),
}
ZONE_EASY: dict[str, QuestionKind] = {name: KINDS[name] for name in ("max", "count", "diff", "min")}
ZONE_NEW_KINDS = ("min", "odds")  # an easy and a hard one that no training asks
# taught like the hard ones, but the student still finds its right procedure once in 300 responses:
# neither training nor a benchmark asks it
ZONE_ASIDE = ("span",)
ZONE_TRAINED_KINDS = tuple(
    k for k in (*ZONE_EASY, *ZONE_HARD) if k not in (*ZONE_NEW_KINDS, *ZONE_ASIDE)
)

WORLDS: Mapping[World, Mapping[str, QuestionKind]] = {"nano": KINDS, "zone": ZONE_EASY | ZONE_HARD}
