"""Answers that fit more than one gold answer, or none, and the right ones that look like them."""

from __future__ import annotations

import pytest
from test_kinds import disagreements


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            r"-\infty",
            [r"-\infty", "-∞", "negative infinity", "-Infinity", r"- \infty"],
            [r"not -\infty", r"no -\infty", r"-\infty + x", r"-\infty \infty", r"5-\infty"],
        ),
        (
            r"\infty",
            [r"+\infty", "Infinity"],
            [r"\infty + k", r"x\infty", r"k + \infty", r"\infty^2"],
        ),
        ("0", ["0"], [r"\frac{1}{\infty}", r"e^{-\infty}"]),
    ],
)
def test_there_is_no_arithmetic_with_infinity(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("5", ["5~cm", "**5**"], ["~~5~~", "~~5~~ 6", r"\sout{5}"]),
        (r"\frac12", [r"~\frac12"], [r"~~\frac12~~"]),
        ("cat", ["cat!", "cat."], ["!cat", "cat?", "~~cat~~", "cat??"]),
        ("Why me?", ["Why me", "why me?"], ["Why you?"]),
        ("x+1", ["x+1", "1+x"], ["!x+1", "x+1?", "x+1 ?"]),
        (r"p \land q", ["p ∧ q", r"p~\land~q"], [r"~p \land q", r"p \land ~q", r"\sim p \land q"]),
        (r"\neg p \land q", [r"~p \land q", r"\sim p \land q", "¬p ∧ q"], [r"p \land q"]),
    ],
)
def test_what_is_struck_out_negated_or_asked_is_not_said(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "5",
            ["5 m", "5 others"],
            ["5 etc.", "5 among others", "5 alternatively", "5 else", "5C2"],
        ),
        ("5 cm", ["5 cm"], ["5 cm*", "5 cm/"]),
        (r"60^\circ", ["60°"], ["60°*"]),
        (r"\frac23", [r"(1) \cdot \frac23"], [r"(1) \frac12 (2) \frac23"]),
        ("1-2i", ["-2i+1", r"1 - 2 \cdot i"], ["1-2i 3+4i"]),
        ("3+4i", ["3+i4", "4i+3"], ["3+i 4 5"]),
        ("0.25", ["0.25"], ["1/2 (0.5)"]),
        ("1.5", ["3/2", r"1{\frac12}", r"{1}\frac{1}{2}", "1 and 1/2"], ["log2(5)"]),
        ("3", ["log2(8)", "log10(1000)", r"\log_2 8"], ["log2(9)", "log8(2)"]),
    ],
)
def test_what_stands_side_by_side_is_no_product_and_no_unit(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    "answer",
    [
        *("B. ACD", "B: ACD", r"B: \{A,C\}", "B: A + C", "B: A|C|D", "B: A-D", "B: A to D"),
        *("B (alternatively C)", "B: likely, else C", "B (?)", "B etc", r"\ne (B)", r"x \neq (B)"),
        *("(B) or another", "(B) and others", "(B) is false", "B.*", "B is wrong", "B.C", "B:C"),
        *("B is correct, C is correct", "It's C", "B is not correct", "I choose C", "A: B"),
    ],
)
def test_a_letter_beside_the_rest_of_the_letters_is_no_choice(answer: str) -> None:
    assert disagreements("B", [], [answer]) == []


@pytest.mark.parametrize(
    "answer",
    [
        *("B is correct", "option B is correct", "B is the correct answer", "It's B", "I choose B"),
        *("Letter B", "B选项", "B.45", "B:45", "B. AC", "B. ABC", "B. false", "B. no", "B. 4 + c"),
    ],
)
def test_a_letter_is_said_in_many_ways(answer: str) -> None:
    assert disagreements("B", [answer], []) == []


NUMBERS = {"options": ("12", "15", "18", "20")}


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "about"),
    [
        (
            "B",
            [
                *("B, 15", "B 15", "15, B", "B (i.e. 15)", "(B), 15", r"B.~15", "B → 15", "B:15"),
                *("15, option B", "choice B, 15", "B = 15"),
            ],
            [
                *("B, 12", "12, B", "C, 15", "15, C", "B, C", "B 15 C 18", "B, 15, 18", "B or C"),
                *("B, not 15", "A 15", "B (15) or C (18)", "12 B"),
            ],
            NUMBERS,
        ),
        ("B", ["B, A dog", "A dog, B"], ["A, A dog", "A dog, A"], {"options": ("A cat", "A dog")}),
        (
            "A, C",
            ["a and c", "(a) and (c)", "a, c", "ac", "A和C", "The answers are A and C"],
            ["a or c", "a, b", "ab", "ca b", "a", "The answers are A and B"],
            {},
        ),
        ("A, B, D", ["abd", "ABD"], ["bad", "dab"], {}),
    ],
)
def test_a_letter_may_stand_beside_its_own_text_however_joined(gold, right, wrong, about) -> None:
    assert disagreements(gold, right, wrong, **about) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "5",
            [
                *("The length is 5", "Total: 5", "x: 5", "n is 5", "There are 5 apples", "So 5"),
                *("only 5", "exactly 5", "a total of 5", "about 5", "5 only", "the number 5"),
            ],
            [
                *("The length is not 5", "x isn't: 5", "not x: 5", "the wrong answer is 5", "4: 5"),
                *("x is 5 is 6", "What is 5", "if x is 5", "half of x is 5", "x is at least 5"),
                *(
                    "one: 5",
                    "lambda: 5",
                    "about 5 or 6",
                    "only 5, 6",
                    "x is 5 or 6",
                    "the opposite of x is 5",
                ),
            ],
        ),
        ("5 cm", ["The length is 5 cm", "BC is 5 cm"], ["The length is 5 m", "BC is not 5 cm"]),
        ("12.5", ["approximately 12.5", "~12.5", r"\sim 12.5"], ["approximately 12.5 or 13"]),
        (
            "1, 2",
            ["roots: 1, 2", "the roots are 1 and 2", "both 1 and 2"],
            ["the roots are 1 and 3"],
        ),
        ("(1, 2)", ["Vertex: (1, 2)", "the point (1, 2)", r"\{(1, 2)\}"], ["the point (2, 1)"]),
        ("5:3", ["the ratio is 5:3", "ratio 5:3"], ["the ratio is 3:5"]),
        ("y = 2x + 1", ["l: y = 2x + 1", "f(x) = 2x + 1"], ["f(x) = 2x", "f(y) = 2x + 1"]),
        ("f(x) = x^2", ["y = x^2"], ["y = x^3", "z = x^2"]),
        ("x = 2", [r"\{2\}", r"x \in \{2\}", "x is 2"], [r"\{2, 3\}", r"y = 3", r"\{3\}"]),
        (r"\emptyset", [r"\{\}"], [r"\{\emptyset\}"]),
        (
            "Paris",
            ["The capital is Paris"],
            [
                "London is Paris",
                "Rome: Paris",
                "It is Rome it is Paris",
                "The town is the city is Paris",
            ],
        ),
        ("No", ["No"], ["Yes: No", "Yes is No"]),
    ],
)
def test_words_may_tell_what_the_answer_is(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "0.5",
            ["0.5 or 1/2", "1/2, i.e. 0.5", "0.5 (one half)", r"\frac12 \text{ or } 50\%"],
            ["0.5 or 0.6", "1/2, i.e. 0.6", "0.5 (one third)", "0.6 or 0.5"],
        ),
        ("5", ["5 (five)", "2+3 = 5"], ["5 (six)", "2 (3)", "5 = 6", "4 (five)", "5 or six"]),
        ("$50", ["$50 (fifty dollars)"], ["$50 (sixty dollars)"]),
        (r"\frac{\pi}{3}", [r"\frac{\pi}{3} = 60^\circ", r"\frac{\pi}{3} (60^\circ)"], ["60° = 1"]),
        ("5 m", ["5 m = 500 cm", "500 cm (5 m)"], ["5 m = 50 cm", "5 m or 6 m"]),
        ("2", ["2"], ["2 (2)"]),
    ],
)
def test_all_the_ways_in_which_one_value_is_said_must_be_right(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []
