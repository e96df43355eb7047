"""Lines that name a choice or only speak of one, options by their value, and dress of boxes."""

from __future__ import annotations

import pytest

from eval.benchmark import Sample
from eval.scoring import score_all
from eval.scoring.rules import answer_line, number_of
from zppo_core.rewards.grader import _grader
from zppo_core.rewards.verdicts import parse_verdict


def score(
    rule: str, gold: str, answer: str, options: tuple[str, ...] = (), **extra: object
) -> float:
    sample = Sample("s", "q", gold, options=options, extra=extra)
    return score_all([(sample, rule, answer)], _grader())[0].score


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (r"Answer: \textbf{D}", "D"),
        ("答案：D", "D"),
        ("故选 D", "D"),
        (r"Answer: \(D\)", "D"),
        ('Answer: "D"', "D"),
        ("### Answer\nD", "D"),
        ("**Final Answer**\n\n(D)", "D"),
        ("Answer: D) d", "D"),
        ("Comparing B and C, the answer is C", "C"),
        ("It is not A. The correct option is D", "D"),
        ("It is not option D", None),
        ("so we eliminate option D", None),
        ("Rule out choice D", None),
        ("Wrong answer: D", None),
        ("unlike option D", None),
        ("which option is A", None),
        ("Answer: A or option D", None),
        ("Option A is close to option D", None),
        ("Is the answer D?", None),
        ("Answer: D) the text of another", None),
    ],
)
def test_a_line_names_the_answer_or_speaks_of_an_option(text, letter) -> None:
    assert answer_line(text, ("a", "b", "c", "d")) == letter


@pytest.mark.parametrize(
    ("options", "right", "wrong"),
    [
        (
            ("50%", "60%", "70%"),
            ["60 %", "60", "0.6", "60 percent", r"60\,\%"],
            ["50", "6", "A. 60%"],
        ),
        (("100", "1,000", "10"), ["1000", "B. 1000", "10^3"], ["100", "1", "10,00"]),
        (("1/3", r"$\frac{1}{2}$", "1/4"), ["1/2", "0.5", r"B. \dfrac12"], ["0.25", "1/5"]),
        (("30°", "45°"), ["45", "45 degrees"], ["30", "45 or 30"]),
        (("cat", "dog"), ["dog", "B. Dog"], ["cat", "dogs and cats"]),
    ],
)
def test_an_option_is_named_by_its_value_too(options, right, wrong) -> None:
    assert [a for a in right if score("choice", "B", a, options) != 1.0] == []
    assert [a for a in wrong if score("choice", "B", a, options) != 0.0] == []


def test_mathvista_s_numbers_have_names_and_units() -> None:
    whole = {"answer_type": "integer", "precision": None}
    for answer in ("x = 1000", "$1,000", r"1000\text{ cm}", "1000 people", r"1000^\circ"):
        assert score("mathvista", "1000", answer, **whole) == 1.0
    for answer in ("1000%", "1000 or 2000", "10,00", "x = 100"):
        assert score("mathvista", "1000", answer, **whole) == 0.0
    decimal = {"answer_type": "float", "precision": 2}
    assert score("mathvista", "7.95", "7.95 cm", **decimal) == 1.0
    assert score("mathvista", "7.95", "7.89 cm", **decimal) == 0.0


def test_dynamath_s_angles_are_degrees_where_they_say_so() -> None:
    assert number_of(r"2\sin 45^\circ") is None
    assert score("dynamath", "1.414", r"2\sin 45^\circ", answer_type="float") == 1.0
    assert score("dynamath", "1.702", r"2\sin 45^\circ", answer_type="float") == 0.0
    assert score("dynamath", "yes", "Yes.", answer_type="text") == 1.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("Paris", r"\large{Paris}"),
        ("Paris", r"\textsl{Paris}"),
        ("a@b.org", r"\url{a@b.org}"),
        ("10:30 a.m.", r"10{:}30\text{ a.m.}"),
        ("50%", r"50\,\%"),
    ],
)
def test_dress_of_a_box_costs_no_mark(gold, answer) -> None:
    assert score("anls", gold, answer) == 1.0


def test_a_struck_out_answer_is_taken_back() -> None:
    assert score("anls", "Paris", "~~Paris~~") < 1.0
    assert score("text", "Paris", "~~Paris~~") == 0.0


def test_a_verdict_may_stand_in_marks_of_code_or_bold() -> None:
    assert parse_verdict('`{"verdict": "correct"}`') is True
    assert parse_verdict('**{"verdict": "wrong"}**') is False
    assert parse_verdict('`{"verdict": "correct"}` or `{"verdict": "wrong"}`') is None
