"""Answers that hold the right one and take it back, change it, or leave the choice open."""

from __future__ import annotations

import time

import pytest
from test_kinds import disagreements

from zppo_core.rewards.doubt import doubtful
from zppo_core.rewards.grader import grade
from zppo_core.rewards.where import find_answer


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
        *(
            "B. (a, b)",
            "B. [a,b)",
            "(B) (a,b,c)",
            "B. Never",
            "B. Incorrect",
            "B. Not true",
            "B. Neither",
        ),
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


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (
            "5",
            [
                *(
                    "5 apples",
                    "5 even numbers",
                    "5 zeros",
                    "5 possible values",
                    "5 families",
                    "5 squares",
                ),
                *("5 equally spaced points", "5 imaginary roots", "5 flies", "5 tense cats"),
                *(
                    "5 double bonds",
                    "5 tents",
                    "5 quarters",
                    "5 seconds",
                    "5 ml",
                    "5 opposite sides",
                ),
            ],
            [
                *(
                    "5 dozens",
                    "5 hundreds",
                    "5 lakhs",
                    "5 crores",
                    "5 sixths",
                    "5 tenths",
                    "5 tens",
                ),
                *("5 perhaps", "5 maybe eleven", "5 rejected", "5 quadrillion", "5 imaginary"),
                *(
                    "5 impossible",
                    "5 almost",
                    "5 possibly",
                    "5 excluded",
                    "5 twelve",
                    "5 Trillions",
                ),
                *(
                    "5 hardly",
                    "5 doubled",
                    "5 fewer apples",
                    "5 forties",
                    "5 gross",
                    "5 maybe cats",
                ),
                *("5 ninths", "5 wait six", "5 opposite", "5 dozens of eggs", "5 hundredths"),
            ],
        ),
        ("60", ["5 dozens", "5 dozen"], ["5 dozens of dozens", "60 dozens"]),
        ("500", ["5 hundreds", "five hundred"], ["5 hundredths", "500 hundreds"]),
        (r"\frac{5}{6}", ["5 sixths", "five sixths", "5 Sixths"], ["5 sixth", "6 fifths", "5 six"]),
        ("0.5", ["1 half", "5 tenths"], ["half 1", "5 ten"]),
        ("2000000", ["2 millions", "20 lakhs"], ["2 crores", "2 lakhs"]),
    ],
)
def test_words_of_numbers_and_of_doubt_are_no_counted_things(gold, right, wrong) -> None:
    assert disagreements(gold, right, wrong) == []


@pytest.mark.parametrize(
    "answer",
    [
        *("x = 5", "no of apples = 5", "No of wrong answers = 5", "the number of dogs = 5"),
        *("double bonds = 5", "the negative root = 5", "least common multiple = 5", "5 = n"),
        *("side opposite A = 5", "false positives = 5", "the most common value = 5", "半径=5"),
        *("P(not A) = 5", "P(A or B) = 5", "red or blue balls = 5"),
        *("number of ways = 5", "notation = 5", r"\text{the radius } r = 5", "norm = 5", "个数=5"),
    ],
)
def test_a_name_stands_before_its_value(answer: str) -> None:
    assert disagreements("5", [answer], ["not " + answer]) == []


@pytest.mark.parametrize(
    "answer",
    [
        *("x is not = 5", "not x = 5", r"\text{half of } x = 5", "less than n = 5"),
        *("anything except x=5", "unless x = 5", "isn't = 5", "x isn't = 5", "if x = 5"),
        *("no x = 5", "twice x = 5", "half x = 5", "twice the value = 5", "at least x = 5"),
        *("more than x = 5", "square of x = 5", "a third of x = 5", "double x = 5", "never = 5"),
        *("the opposite of x = 5", "negative x = 5", "wrong x = 5", "x is wrong = 5", "about = 5"),
        *("square root of x = 5", "不是=5", "x or y = 5", "5 = not x", "it cannot be x = 5"),
        *("x doesn't = 5", "Not x = 5", "all but n = 5", "reciprocal of x = 5", "完全错=5"),
    ],
)
def test_a_name_that_denies_or_changes_its_value_is_none(answer: str) -> None:
    assert disagreements("5", [], [answer]) == []


@pytest.mark.parametrize(
    ("response", "gold", "reward"),
    [
        (r"\boxed{4 \text{ or } \boxed{5}}", "5", 0),
        (r"\boxed{\text{not }\boxed{5}}", "5", 0),
        (r"\boxed{-\boxed{5}}", "5", 0),
        (r"\boxed{\boxed{5}\text{ is wrong}}", "5", 0),
        (r"\boxed{\boxed{\boxed{5}+1}}", "5", 0),
        (r"\boxed{\boxed{\boxed{5}+1}}", "6", 1),
        (r"\boxed{-\boxed{5}}", "-5", 1),
        (r"\boxed{\boxed{4}, \boxed{5}}", "4, 5", 1),
        (r"\boxed{\boxed{4}, \boxed{5}}", "5", 0),
        (r"\boxed{\boxed{5}}", "5", 1),
        (r"\boxed{ \boxed{ \boxed{5} } }", "5", 1),
        (r"\boxed{4} \boxed{x = \boxed{5}}", "5", 1),
        (r"\boxed{4} \boxed{\boxed{5}", "5", 1),  # the outer one is open
        (r"\boxed{5} \boxed{\boxed{}}", "5", 1),
        (r"\boxed{\boxed{5} \boxed{}}", "5", 1),
        (r"\boxed{\frac{\boxed{1}}{\boxed{2}}}", "0.5", 1),
        (r"\boxed{\frac{\boxed{1}}{\boxed{2}}}", "2", 0),
    ],
)
def test_what_stands_around_a_box_inside_of_another_counts(response, gold, reward) -> None:
    assert grade(response, gold).reward == reward


def test_boxes_inside_of_boxes_cost_no_more_than_their_length() -> None:
    for text in (
        r"\boxed{" * 60_000 + "5" + "}" * 60_000,
        r"\boxed{" + r"\boxed{5} " * 60_000 + "}",
    ):
        begin = time.perf_counter()
        assert find_answer(text)[0]
        assert time.perf_counter() - begin < 3


@pytest.mark.parametrize(
    ("gold", "right", "wrong", "about"),
    [
        (
            "180, 20",
            ["180, 20", "180 and 20"],
            ["180 or 20", "either 180 or 20"],
            {"kind": "ordering"},
        ),
        ("D, B, C, A", ["D, B, C, A"], ["D, B, C or A", "D, B, C 或 A"], {"kind": "ordering"}),
        (
            "apple, banana",
            ["banana and apple", "banana, apple"],
            ["apple or banana", "either apple or banana", "apple 或 banana"],
            {"kind": "list"},
        ),
        ("1, 2", ["2 or 1", "x = 1 or x = 2"], ["1 or 3"], {"kind": "list"}),
        ("red or blue, green", ["green, red or blue"], ["red, green"], {"kind": "list"}),
        (
            "x = 1, y = 2",
            ["y = 2 and x = 1", "(1, 2)", "x = 1, y = 2"],
            ["x = 1 or y = 2", r"x = 1 \lor y = 2", "x=1 或 y=2", "1 or 2"],
            {},
        ),
        ("(1, 2)", ["1, 2", "x = 1 and y = 2"], ["x = 1 or y = 2", "1 or 2", "either 1 or 2"], {}),
        ("(x, y) = (1, 2)", ["x = 1, y = 2"], ["x = 1 or y = 2", "1 or 2"], {}),
        (r"\{apple, pear\}", ["pear, apple", "apple and pear"], ["apple or pear"], {}),
        ("x < 1 or x > 3", ["x > 3 or x < 1"], ["x < 1 and x > 3"], {}),
        (r"\{1, 2\}", ["1 or 2", "x = 1 or x = 2"], ["1 or 3"], {}),
        ("Oregon, Ohio", ["Oregon, Ohio"], ["Ohio, Oregon"], {"kind": "ordered"}),
    ],
)
def test_or_is_no_list_of_all_of_them(gold, right, wrong, about) -> None:
    assert disagreements(gold, right, wrong, **about) == []
