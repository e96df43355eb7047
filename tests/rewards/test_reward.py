"""Who decides a reward: the rule where the gold answer is one, the judge where it is free text."""

import pytest

from zppo_core.rewards.answers import AnswerSpec
from zppo_core.rewards.grading import RuleGrading
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Grade, Question


class Rule:
    """Right where the response is the gold answer; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, AnswerSpec]] = []

    def grade_many(self, pairs):
        self.asked += pairs
        return [
            Grade(float(r == gold), "correct" if r == gold else "wrong", r) for r, gold, _ in pairs
        ]


class Judge:
    """Right where the response says "fine"."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def grade_all(self, pairs):
        self.asked += [(q.id, r) for q, r in pairs]
        return [Grade(float("fine" in r), "correct" if "fine" in r else "wrong") for _, r in pairs]


def question(i: int) -> Question:
    return Question(f"q{i}", "?", f"gold {i}", judged=i % 3 == 0)


PAIRS = [
    (question(0), "fine 0"),
    (question(1), "gold 1"),
    (question(2), "fine"),
    (question(3), "gold 3"),
    (question(4), "gold 5"),
    (question(6), "bad 6"),
    (question(5), "gold 5"),
]


def test_each_response_is_graded_by_who_is_to_grade_it_and_in_place() -> None:
    rule, judge = Rule(), Judge()
    grades = RuleGrading(rule, judge).grade_all(PAIRS)
    assert [g.reward for g in grades] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert [pair[:2] for pair in rule.asked] == [
        ("gold 1", "gold 1"),
        ("fine", "gold 2"),
        ("gold 5", "gold 4"),
        ("gold 5", "gold 5"),
    ]
    assert judge.asked == [("q0", "fine 0"), ("q3", "gold 3"), ("q6", "bad 6")]


def test_the_rule_is_told_what_the_corpus_knows_of_the_answer() -> None:
    rule = Rule()
    known = Question(
        "q", "?", "B", kind="choice", options=("1", "2"), accepted=("two",), tolerance=0.1
    )
    RuleGrading(rule).grade_all([(known, "B")])
    assert rule.asked == [("B", "B", AnswerSpec("choice", ("1", "2"), ("two",), 0.1))]


def test_without_free_form_answers_nobody_asks_the_judge() -> None:
    ruled = [(q, r) for q, r in PAIRS if not q.judged]
    for judge in (None, Judge()):
        grades = RuleGrading(Rule(), judge).grade_all(ruled)
        assert [g.reward for g in grades] == [1.0, 0.0, 0.0, 1.0]
    assert not judge.asked
    assert RuleGrading(Rule()).grade_all([]) == []


def test_a_free_form_answer_without_a_judge_is_an_error_and_not_wrong() -> None:
    with pytest.raises(ValueError, match="q0 has a free-form gold answer"):
        RuleGrading(Rule()).grade_all(PAIRS)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{a \{ b}", r"a \{ b"),
        (r"\boxed{a \} b}", r"a \} b"),
        (r"\boxed{1} and \boxed{ 2 }", "2"),
        (r"\boxed{1} and \boxed{2", "1"),
        (r"\boxed{\frac{1}{2}} so", r"\frac{1}{2}"),
        (r"\boxed {3}", "3"),
        ("none", None),
    ],
)
def test_the_last_whole_box_is_the_answer(text: str, box: str | None) -> None:
    assert extract_boxed(text) == box
