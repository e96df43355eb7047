"""Answers that hold the right one and take it back, change it, or leave the choice open."""

from __future__ import annotations

import pytest
from test_kinds import disagreements

from zppo_core.rewards.doubt import doubtful


@pytest.mark.parametrize(
    "answer",
    [
        *("(b) or (c)", "b: a, c, d", "C or (B)", "A, (B)", "a, (B)", "c or (B)", "B (C)"),
        *("B. Actually C", "B. The answer is C", "B. Wrong, it is C", "B. the answer is c"),
        *("B. No, C", "B. C is correct", "B. C, I think", "B. it's c", "B. a. one", "b) 4 c) 5"),
        *("B. 40 (c) 50", "B: a and c", "not (B)", "Anything but (B)", "other than (B)"),
        *("B. not sure", "(B) is not right", "B. not the answer", "B. but I am not sure"),
        *("B. not C", "B. 45, but D is close", "B. either", "B. incorrect", "B (or C)"),
        *("B (not C)", "B (wrong)", "the answer is C (B)", "C (45)", "B. isn't right"),
    ],
)
def test_a_letter_with_a_second_one_or_with_doubt_is_no_choice(answer: str) -> None:
    assert disagreements("B", [], [answer]) == []


@pytest.mark.parametrize(
    "answer",
    [
        *("B. The cat did not move", "B (45)", "B (2, 3)", "B. A cat that did not move", "45 (B)"),
        *("B. all but one", "B. Not enough information", "B. not a right triangle", "(b) 45"),
        *("B. either side of the road", "B. f(b, c)", "B. a/b", "B. c", "B. Vitamin C", "B. a + b"),
        *("B. the ratio a:b", "B. i.e. the cat", "B. (a) + b", "x (B)", "B (f(2))", "B. x and y"),
        *("B. from A to C", "B. greater than C", "B. No change", "B. the answer lies elsewhere"),
    ],
)
def test_the_text_of_an_option_may_stand_beside_its_letter(answer: str) -> None:
    assert disagreements("B", [answer], []) == []


def test_a_text_in_brackets_is_that_of_its_option() -> None:
    about = {"options": ("40", "45", "A")}
    assert disagreements("B", ["B (45)", "45 (B)"], ["B (40)", "A (45)"], **about) == []
    assert disagreements("C", ["A (C)"], ["A (B)"], **about) == []


def test_doubt_costs_no_more_than_its_length() -> None:
    assert doubtful("(a " * 10**5)
    assert not doubtful("(x " * 100)
