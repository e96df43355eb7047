"""Pairs that a small change to the readers would grade differently: one change, one pair at least.

`tools/mutants/rewards.toml` lists the changes; each row here was the answer to one that survived.
"""

from __future__ import annotations

import pytest
from test_kinds import disagreements

from zppo_core.rewards.choices import bare_option, named_letter
from zppo_core.rewards.clean import without_units
from zppo_core.rewards.verdicts import yes_or_no


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"\frac{1}{2}, \frac{3}{4}", [r"1 \over 2, 3 \over 4", r"{1 \over 2}, 3/4"], []),
        (r"\frac{1}{2}", [r"x = 1 \over 2", r"1\over 2"], [r"x = 2 \over 1", r"x = 1, \over 2"]),
        (
            r"(\frac{1}{2}, 3)",
            [r"({1 \over 2}, 3)", r"(1 \over 2, 3)"],
            [r"\frac{(1}{2, 3)}", r"(1 \over 2, 3"],
        ),
        (r"\frac{a+b}{2}", [r"(a+b) \over 2", r"{(a+b)\over 2}"], [r"a+b \over 3"]),
        ("5, 6", [r"5\text{and}6", r"x=5\text{or}x=6"], [r"5\text{and}7"]),
        (r"\ln x", [r"\operatorname{ln}x"], [r"\operatorname{lg}x"]),
        (r"\gcd(a,b)", [r"\operatorname{gcd}(a,b)"], [r"\operatorname{lcm}(a,b)"]),
        (r"x \notin A", [r"x \not\in A", "x ∉ A"], [r"x \in A"]),
        ("B", ["B. 45"], ["B. " + "word " * 80]),
        (r"\begin{pmatrix}1&2\end{pmatrix}", ["(1, 2)", "[1, 2]"], ["(2, 1)", "(1, 2, 0)"]),
        (
            "(x, y) = (1, 2)",
            ["(y, x) = (2, 1)", "(1, 2)"],
            ["(y, x) = (1, 2)", "(a, b) = (1, 2)"],
        ),
        ("y = -1, x = 4", ["(4, -1)", "4, -1"], ["(-1, 4)", "-1, 4"]),
        ("1, 2", ["[1, 2]", r"\{2, 1\}"], ["[1, 2)", "(1, 2]"]),
        (
            r"(-\infty,1)\cup(2,\infty)",
            [r"(2,\infty)\cup(-\infty,1)"],
            [r"(-\infty,1)", r"(2,\infty)"],
        ),
        ("10^{401}", ["10^{401}"], ["10^{402}"]),
        (r"3 \times 10^{500}", [r"3\cdot10^{500}"], [r"3 \times 10^{600}"]),
        ("3.14 10^2", ["314"], ["314.3"]),
        (r"1.5 \times 10^3", ["1500", "1.52e3"], ["1520", "1499"]),
        ("0.13", ["0.125", "0.1349"], ["0.124", "0.136"]),
        (r"\frac13", ["0.3333333"], ["0.333333", "0.3333339"]),
        (r"\sqrt2", ["1.414214"], ["1.41421", "1.414215"]),
        ("5.00", ["5"], ["5.004", "4.996"]),
        ("5m", ["5 m", "5"], ["5 km", "5M"]),
        ("15", ["fifteen"], ["ten five"]),
        ("50", ["fifty"], ["twenty thirty"]),
        ("3002000", ["three million two thousand"], ["two thousand three million"]),
        ("5th floor", ["5th floor"], ["5 floors", "5 floor"]),
        ("3600.3 s", ["3600.3 seconds"], ["1 hour 30 cm"]),
        ("5 cm", ["2+3 cm"], ["10-5 cm"]),
        ("1.41", [r"\sqrt{2}"], []),
        ("1.42", [], [r"\sqrt{2}"]),
        ("abc", ["a b c"], ["cab"]),
        ("red bag", ["Red bag"], ["r*e*d*b*a*g", "bag red"]),
        ("ice-fog", ["ice fog"], ["-fog+ice"]),
        ("5-10 cm", ["50 mm - 100 mm", "5-10"], ["5 km - 10 cm"]),
        ("5-10%", ["0.05 to 0.1", "5%-10%"], ["0.5 to 0.1"]),
        ("8-10 PM", ["8 PM - 10 PM", "20:00-22:00"], ["8 AM - 10 PM"]),
        ("8-10 AM", ["8 AM - 10 AM", "8:00-10:00"], ["8 PM - 10 AM"]),
        ("9:15", ["9:15 AM"], ["8:75"]),
        ("8:30", ["8点半"], ["8点", "8:00"]),
        (r"\frac{7}{2}+x", [r"3\frac12+x"], [r"\frac32+x"]),
        (r"\sqrt2", ["1.4142136"], ["1.4142130"]),
        ("-2", [r"\sqrt[3]{-8}"], [r"\sqrt[3]{8}"]),
        (r"\ln 2", [r"\ln(2)"], [r"\ln(-2)"]),
        ("20 °C", ["20 celsius", "68 °F"], ["20 °F"]),
        ("£0.50", ["50 pence"], ["5 pence"]),
        ("2x", ["x*2", "2 x"], ["x 2", "x2"]),
        (r"3\pi", [r"\pi \cdot 3"], [r"\pi 3", r"\pi3"]),
        ("4096", ["{2^3}^4"], ["2^3^4"]),
        ("y", ["y"], ["yes", "true"]),
        ("!", ["!"], ["?"]),
        ("5", ["5 = x", "2+3 = 5"], ["5 = 6", "x = 6"]),
        ("y+2", ["2+y"], ["x+1 = y+2"]),
        ("(1, 2)", ["1, 2"], ["x = 1, x = 2"]),
        ("1, 2", ["x = 1, y = 2"], ["y = 1, x = 2"]),
        (r"1 \pm 2 \mp 3", ["0, 2", r"1 \mp 2 \pm 3"], ["6, -4"]),
        ("1,000, 2,000", ["2,000, 1,000", "1000 and 2000"], ["2, 1, 000, 000"]),
        ("(1, 2)", ["]1, 2["], ["[1, 2["]),
        ("]1, 2[", ["1 < x < 2"], ["1 \\le x \\le 2"]),
        (r"\begin{pmatrix}1\\2&3\end{pmatrix}", [], [r"\begin{bmatrix}1\\2&3\end{bmatrix}"]),
        (r"[1, \infty)", [r"[1, \infty]"], [r"(1, \infty)"]),
        ("x > 3 or x < 1", ["x < 1 or x > 3"], ["x > 3 or y < 1"]),
        ("1 < x < 3", ["x > 1 and x < 3"], ["x > 1 and y < 3"]),
        ("25/12/2020", ["December 25, 2020", "2020-12-25"], ["25/11/2020"]),
    ],
)
def test_a_pair_that_one_change_would_turn(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "about"),
    [
        ("CAT", ["CAT"], ["ACT", "TAC"], {"options": ("CAT", "DOG")}),
        ("A", ["45", "A. 45"], ["50", "B. 45"], {"options": ("A. 45", "B. 50")}),
        ("555-0123", ["555 to 123"], ["555 to 124"], {"kind": "range"}),
        ("2010-12", ["2010 to 12"], ["December 2010"], {"kind": "range"}),
        ("aBc1", ["aBc1"], ["abc1", "aBc-1"], {"kind": "code"}),
        ("A1 B2", ["A1B2"], ["A1B3"], {"kind": "code"}),
        ("5", ["five"], ["six"], {"kind": "name"}),
        ("Jack and Jill", ["Jack and Jill"], ["Jill and Jack"], {"kind": "name"}),
        (r"100\pi", ["314", "300"], ["330"], {"tolerance": 0.05}),
        (r"\frac{\sqrt2}{100}", ["0.0145"], ["0.05"], {"tolerance": 0.05}),
        ("10", ["15", "5"], ["15.1", "4.9"], {"tolerance": 0.5}),
    ],
)
def test_a_pair_that_one_change_to_its_kind_would_turn(gold, right, wrong, about) -> None:
    assert disagreements(gold, right, wrong, **about) == []


def test_a_very_long_answer_is_compared_word_by_word_in_order() -> None:
    words = "alpha beta " * 200
    assert disagreements(words + "x y", [words + "x  y"], [words + "y x"]) == []


def test_a_letter_is_named_within_its_options_and_without_doubt() -> None:
    same = str.__eq__
    assert named_letter("B", ["cat", "dog"], same) == "B"
    assert named_letter("E", ["cat", "dog"], same) is None
    assert named_letter("B. dog", ["cat", "dog"], same) == "B"
    assert named_letter("B. cat", ["cat", "dog"], same) is None
    assert named_letter("B. dog", (), same) == "B"
    assert named_letter("B. or perhaps C", (), same) is None
    assert bare_option("B) dog") == "dog"


def test_signs_of_degrees_and_percent_are_left_out_for_the_second_try() -> None:
    assert (without_units("45%"), without_units("30°")) == ("45", "30")


def test_a_verdict_stands_on_the_last_line_and_is_no_question() -> None:
    assert yes_or_no("It is close.\nVerdict: YES") is True
    assert yes_or_no("Verdict: YES\nbecause it is close") is None
    assert yes_or_no("Is the answer YES?\nNO") is False
    assert yes_or_no("The answer is YES?") is None
