"""Kinds of answers, each with spellings that are right and with neighbours that are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from zppo_core.rewards.answers import spec_of
from zppo_core.rewards.grader import _grader

GRADER = _grader()  # one worker for all of these tests


def disagreements(
    gold: str, right: Sequence[str], wrong: Sequence[str], **about: object
) -> list[str]:
    """The answers whose reward is not what the table says."""
    spec = spec_of(**about)  # type: ignore[arg-type]
    grades = GRADER.agree_many([(answer, gold, spec) for answer in (*right, *wrong)])
    told = [True] * len(right) + [False] * len(wrong)
    pairs = zip((*right, *wrong), grades, told, strict=True)
    return [answer for answer, grade, is_right in pairs if (grade.reward == 1.0) != is_right]


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("x + y = 5", ["y + x = 5", "x + y - 5 = 0"], ["x - y = 5", "x + y", "x, y = 5"]),
        ("y = 2x - 3", ["2x - y = 3", "y + 3 = 2x"], ["2x + y = 3", "x = 2y - 3"]),
        ("x = 4, y = -1", ["y = -1, x = 4", "(4, -1)"], ["x = -1, y = 4", "x = 4, z = -1"]),
    ],
)
def test_a_variable_named_y_joins_no_list(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "(3, -1)",
            ["(x, y) = (3, -1)", "P(3, -1)", "(m,n)=(3,-1)", r"(\alpha,\beta)=(3,-1)"],
            ["(y, x) = (3, -1)", "(x, y) = (-1, 3)", "P(-1, 3)", "f(3, -1)", "AB(3, -1)"],
        ),
        (
            "(x, y) = (1, 2)",
            ["(1, 2)", "x = 1, y = 2", "y = 2, x = 1"],
            ["(2, 1)", "(y, x) = (1, 2)", "x = 2, y = 1", r"x \in (1, 2)", "x_1 = 1, x_2 = 2"],
        ),
        (
            "x = 1, y = 2",
            ["(x, y) = (1, 2)", "(y, x) = (2, 1)", r"\begin{cases} x=1 \\ y=2 \end{cases}"],
            ["(x, y) = (2, 1)", "(x, z) = (1, 2)", r"\begin{cases} x=2 \\ y=1 \end{cases}"],
        ),
        ("(1, 2), (3, 4)", ["(x,y) = (3,4) or (1,2)"], ["(x,y) = (1,2)", "(x,y) = (3,4), (2,1)"]),
        (r"(r, \theta) = (2, \pi)", [r"r=2, \theta=\pi"], [r"r=\pi, \theta=2"]),
    ],
)
def test_a_point_may_name_its_coordinates(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "x = -2 or x = 3",
            [r"x \in \{3, -2\}", "x_1 = -2, x_2 = 3", "-2, 3"],
            ["x = -2 or y = 3", "y = -2 or y = 3", r"x \notin \{-2, 3\}", r"x \in [-2, 3]"],
        ),
        (r"\{1, 2\}", [r"x \in \{2, 1\}"], [r"x \notin \{1, 2\}", r"x \in (1, 2)"]),
        (
            r"x \ne 2",
            [r"\mathbb{R} \setminus \{2\}", "ℝ∖{2}", r"(-\infty,2) \cup (2,\infty)"],
            [r"\mathbb{R} \setminus \{3\}", r"\mathbb{Q} \setminus \{2\}", r"\mathbb{R}"],
        ),
        (
            r"\mathbb{R} \setminus \{-1, 1\}",
            [r"\mathbb{R} - \{1, -1\}", r"(-\infty,-1)\cup(-1,1)\cup(1,\infty)"],
            [r"\mathbb{R} \setminus \{1\}", "(-1, 1)", r"(-\infty,-1)\cup(1,\infty)"],
        ),
        (r"-\infty", ["negative infinity", "Minus infinity."], ["infinity", r"+\infty"]),
    ],
)
def test_sets_of_numbers_have_many_spellings(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"5\sqrt{2} m", [r"500\sqrt{2} cm", r"\sqrt{50} m"], [r"5\sqrt{2} cm", r"5\sqrt{2} m^2"]),
        (r"2\pi m", [r"200\pi cm", r"0.002\pi km"], [r"2\pi cm", r"2\pi s", r"20\pi cm"]),
        (r"45^\circ", [r"\frac{\pi}{4} rad", r"\pi/4 radians"], ["45 rad", r"\frac{\pi}{3} rad"]),
        (r"\frac{\pi}{4}\text{ rad}", ["45°", "45 degrees"], ["45", "45 rad", r"\frac{\pi}{4}°"]),
        (r"2\sqrt{5} °C", [r"2\sqrt{5}°C", r"\sqrt{20} °C"], [r"2\sqrt{5} °F", r"2\sqrt{5} K"]),
        ("5 ft 8 in", ["5'8\"", "5' 8''", "68 inches"], ["8'5\"", "5'9\"", "58 in"]),
        ("$50", ["50 US dollars", "50 U.S. dollars"], ["50 Canadian dollars", "50 US cents"]),
        (
            "12 red apples",
            ["12", "12 Red Apples"],
            ["12 apples red", "12 green apples", "12 apples"],
        ),
        ("10 Downing Street", ["10 downing street"], ["10", "10 Street Downing", "11"]),
        ("20 Degrees Celsius", ["20 °C", "20", "68 °F"], ["20 °F", "21"]),
    ],
)
def test_quantities_are_converted_counted_and_kept_from_names(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("2.5", ["two and a half", "two and one half"], ["two and a quarter", "two or a half"]),
        ("10/3", ["three and a third", "3 1/3"], ["three and two thirds", "three thirds"]),
        ("7/12", ["seven twelfths", "⁷⁄₁₂"], ["seven twelve", "twelve sevenths", "⁷⁄₁₁"]),
        ("0.01", ["one hundredth", "1%"], ["one hundred", "100th"]),
        ("105", ["one hundred and five"], ["one hundred and fifty", "one hundred and a half"]),
        (r"\frac{4}{33}", ["0.1212...", r"0.\overline{12}"], ["0.12...", "0.1222...", "0.1212"]),
        ("1/7", [r"0.142857142857\ldots"], ["0.142857...", "0.14..."]),
        (r"\frac{1}{3}", ["0.333..."], ["0.33", "0.3...", "0.33...", "0.34..."]),
        ("-101_2", ["-101", "-101_{2}", "−101₂"], ["101_2", "-5", "--101_2", "-101_3"]),
        ("noon", ["12 noon", "12:00 PM"], ["12 midnight", "11 noon"]),
        ("|\\vec{a}|", [r"|\overrightarrow{a}|"], [r"|\vec{b}|", r"|\bar{a}|"]),
        (r"\bar{z}", [r"\overline{z}"], ["z", r"\bar{w}"]),
        ("Apollo 11", ["Apollo-11", "apollo 11"], ["Apollo 1 1", "Apollo 12", "11", "Apollo"]),
        ("COVID-19", ["covid 19"], ["DIVOC-19", "COVID-18", "COVID-1 9", "COVID+19"]),
        ("triangle ABC", [r"\triangle ABC"], [r"\angle ABC", r"\triangle ACB", "triangle"]),
    ],
)
def test_numbers_and_names_have_many_spellings(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"\frac{3}{4}", [r"{3 \over 4}", r"3 \over 4", r"x = {3 \over 4}"], [r"{4 \over 3}"]),
        (r"\frac{\sqrt{2}}{2}", [r"{\sqrt{2} \over 2}"], [r"{\sqrt{2} \over 3}", r"2 \over 2"]),
        (r"\frac12", [r"\left.\frac12\right.", r"_\frac12_"], [r"\left.5\frac12\right."]),
        ("5-2x", [r"5\text{-}2x", "5{-}2x"], [r"5\text{+}2x", r"5\text{,}-2x"]),
        ("1,234", [r"1\text{,}234", "1{,}234"], [r"12\text{,}34"]),
        ("x=3", [r"\therefore x=3", "∴ x = 3"], [r"\therefore x=4"]),
        ("42", ["共42个", r"\therefore 42"], ["共43个"]),
        ("共同", ["共同"], ["同"]),
    ],
)
def test_further_dress_is_taken_off(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


def test_letters_of_several_options_need_nothing_between_them() -> None:
    right, wrong = ["B, D", "(B)(D)", "D, B", "BD"], ["B", "B, C, D", "B or D"]
    assert disagreements("BD", right, wrong, kind="choice") == []
    options = [str(i) for i in range(26)]  # as many as there are letters
    assert disagreements("BZ", ["Z, B", "BZ"], ["B", "1"], options=options) == []


@pytest.mark.parametrize("dress", [r"\text{}", r"\;", "$ $", r"\mathrm{ }", r"\(\)", "****", "{}"])
def test_a_box_with_dress_alone_hides_no_answer(dress: str) -> None:
    responses = [rf"\boxed{{8}} and {{\boxed{{{dress}}}}}"] * 2
    grades = GRADER.grade_many(zip(responses, ["8", "9"], strict=True))
    assert [(g.reward, g.answer) for g in grades] == [(1.0, "8"), (0.0, "8")]


def test_an_empty_set_is_an_answer_and_no_empty_box() -> None:
    response = r"\boxed{8}, no: \boxed{\{\}}"
    grades = GRADER.grade_many([(response, r"\emptyset"), (response, "8")])
    assert [g.reward for g in grades] == [1.0, 0.0]
