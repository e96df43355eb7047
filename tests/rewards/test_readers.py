"""Answers beside the right one, of kinds that a small change to the readers would let pass."""

from __future__ import annotations

import pytest
from test_kinds import disagreements


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("5", ["5 A", "k = 5"], ["5 S", "e = 5", r"\pi = 5", r"\infty = 5"]),
        ("2", [r"4^{1/2}", r"8^{\frac13}"], ["4^{1/4}"]),
        ("1", [], [r"4^{1/2}"]),
        ("2014", ["2000+14 = 2014"], ["2020-1-5 = 2014", "2020-01-05 = 2014"]),
        ("5", ["5\x00", "\x1b5", "5\t"], ["5\x006"]),
        ("5 miles", ["8.05 km", "8.047 km"], ["8.04 km", "8.1 km", "8 km"]),
        ("5 km", ["3.11 miles"], ["3.1 miles", "3.10 miles"]),
        ("555-0123", ["555-0123"], ["555 to 123", "[555, 123]", "432"]),
        ("2020-10-35", ["2020-10-35"], ["October 35, 2020", "1975"]),
        ("19_8", ["19_8"], ["19"]),
        (r"\pi+10^{-200}", [r"10^{-200}+\pi"], [r"\pi+10^{-201}", r"\pi"]),
        (r"1, 3, \ldots, n", [r"1, 3, \ldots, n"], [r"3, 1, \ldots, n"]),
        ("15", ["5!!", "5!!+0"], ["3!!", "5!"]),
        ("$$", [], [r"\;", r"\text{}"]),
        (r"\begin{pmatrix}1&\\2&3\end{pmatrix}", [], [r"\begin{bmatrix}1&\\2&3\end{bmatrix}"]),
        ("(2, 2)", ["2, 2"], ["2 < x < 2"]),
        ("(5, 2)", ["5, 2"], ["5 < x < 2", "2 < x < 5"]),
        ("2+2=5", ["2 + 2 = 5"], ["1+1=3"]),
        ("5", ["x = 2+3 = 5"], ["x = 3 = 5"]),
        (r"e^{\pi}-\pi", [r"-\pi+e^\pi"], ["20"]),
        (r"\frac{1234567}{78125}", ["15.8024576"], ["15.802458"]),
        ("2", [r"\lfloor 2.5 \rfloor"], [r"\lceil 2.5 \rceil"]),
        ("|x| > 3", ["3 < |x|"], ["(-3, 3)", "-3 < x < 3", "|x| < 3"]),
        ("(-3, 3)", ["|x| < 3", "-3 < x < 3"], ["|x| > 3", "x < 3"]),
        (r"(3, \infty)", [r"\{y \mid y > 3\}"], [r"\{x \mid y > 3\}", "y < 3"]),
    ],
)
def test_a_neighbour_is_not_the_answer(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "kind"),
    [
        ("print_All(x)", ["print_All( x )"], ["print_all(x)", "print_All(y)"], "name"),
    ],
)
def test_a_neighbour_is_not_the_answer_of_its_kind(gold, right, wrong, kind) -> None:
    assert disagreements(gold, right, wrong, kind=kind) == []
