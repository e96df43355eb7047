"""Deterministic rules and totals, with values worked out by hand from the official definitions."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scoring import FAULT, score_all, totals
from eval.scoring.extract import extract
from eval.scoring.rules import RULES, Algebra, anls, dynamath, mathvista_value, number_of
from eval.suite import Sample
from eval.tasks.mmlu_redux import corrected_letters
from zppo_core.rewards.grader import Grader, grade


def sample(gold: str, options: tuple[str, ...] = (), **extra) -> Sample:
    return Sample("s", "q", gold, options=options, extra=extra)


def score(rule: str, s: Sample, answer: str) -> float:
    """The rule's score; what it leaves to algebra goes to the grader."""
    found = RULES[rule](s, answer)
    if not isinstance(found, Algebra):
        return found
    return max(grade(rf"\boxed{{{a}}}", gold).reward for a, gold in found.pairs)


FRUIT = ("apple", "pear", "fig")


@pytest.mark.parametrize(
    ("answer", "right"),
    [("B", 1), ("(b)", 1), ("B.", 1), ("B. pear", 1), ("pear", 1), ("Pear", 1), ("answer: B", 1),
     ("A", 0), ("B. apple", 0), ("D", 0), ("apple", 0), ("A or B", 0), ("", 0)],
)  # fmt: skip
def test_a_choice_is_its_letter_or_its_text_and_never_two(answer, right):
    assert score("choice", sample("B", FRUIT), answer) == right


def test_anls_is_the_similarity_from_one_half_on():
    # "house" -> "horse": one of five letters, 0.8; "cat" -> "dog": 0
    assert anls(sample("House"), "horse") == pytest.approx(0.8)
    assert anls(sample("cat"), "dog") == 0.0
    # two of four letters: exactly one half still counts
    assert anls(sample("abcd"), "abxy") == 0.5
    assert anls(sample("abcd"), "axyz") == 0.0
    both = Sample("s", "q", "first", golds=("second",))
    assert anls(both, r"\text{Second}") == 1.0


@pytest.mark.parametrize(
    ("kind", "precision", "answer", "value"),
    [("integer", None, "7.9", "7"), ("float", 1, "3.14159", "3.1"), ("float", 2, "2", "2.0"),
     ("text", None, "a cat", "a cat"), ("integer", None, "many", None)],
)  # fmt: skip
def test_mathvista_writes_answers_as_its_types_say(kind, precision, answer, value):
    assert mathvista_value(sample("x", answer_type=kind, precision=precision), answer) == value


def test_mathvista_takes_the_nearest_choice():
    s = sample("pear", FRUIT, answer_type="text")
    # one letter off "pear", three off "apple"
    assert score("mathvista", s, "peer") == 1.0
    assert score("mathvista", s, "B") == 1.0
    assert score("mathvista", s, "aple") == 0.0


@pytest.mark.parametrize(
    ("gold", "kind", "answer", "right"),
    [("1.571", "float", r"\frac{\pi}{2}", 1), ("1.571", "float", "1.5712", 1),
     ("1.571", "float", "1.573", 0), ("0.5", "float", "1/2", 1),
     ("yes it is even", "text", "even", 1), ("odd", "text", "even", 0), ("odd", "text", "", 0)],
)  # fmt: skip
def test_dynamath_takes_numbers_to_a_thousandth_and_text_that_the_gold_holds(
    gold, kind, answer, right
):
    found = dynamath(sample(gold, answer_type=kind), answer)
    assert (found if not isinstance(found, Algebra) else None) == right


def test_multiples_of_pi_are_numbers():
    assert number_of(r"2\pi/3") == pytest.approx(2 * math.pi / 3)
    assert number_of("-π") == pytest.approx(-math.pi)
    assert number_of("pie") is None


@pytest.mark.parametrize(
    ("task", "gold", "answer", "right"),
    [("Counting Grid - Blank Grids", "3,4", "3 x 4", 1),
     ("Counting Grid - Blank Grids", "3,4", "{3}{4}", 1),
     ("Counting Grid - Blank Grids", "3,4", "rows={3} columns={4}", 1),
     ("Counting Grid - Blank Grids", "3,4", "4,3", 0),
     ("Circled Letter", "k", "{K}", 1), ("Touching Circles", "Yes", "yes.", 1),
     ("Touching Circles", "Yes", "no", 0)],
)  # fmt: skip
def test_vlms_are_blind(task, gold, answer, right):
    assert score("vlmsareblind", sample(gold, task=task), answer) == right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [("12.5", "x = 12.50", 1), ("1000", "1,000", 1), ("12.5", "12.4", 0),
     ("sinus rhythm", "a sinus rhythm", 1), ("b", "a b c", 1), ("b", "abc", 0)],
)  # fmt: skip
def test_mmmu_s_open_answers(gold, answer, right):
    assert score("mmmu", sample(gold), answer) == right


def test_integers_and_plain_texts():
    assert score("integer", sample("073"), "73") == 1.0
    assert score("integer", sample("73"), r"73^\circ") == 1.0
    assert score("integer", sample("73"), "74") == 0.0
    assert score("text", sample("(4, 7)"), "(4,7).") == 1.0
    assert score("text", sample("a, B"), "A,b") == 1.0
    assert score("text", sample("a"), "b") == 0.0


def test_an_answer_of_huge_numbers_is_wrong_by_dynamath_and_by_vlms_are_blind():
    assert score("dynamath", sample("7", answer_type="float"), "1e999") == 0.0
    assert score("dynamath", sample("7", answer_type="float"), "-1e999") == 0.0
    grid = sample("3,4", task="Counting Grid - Blank Grids")
    assert score("vlmsareblind", grid, "9" * 5000 + ",4") == 0.0
    assert score("vlmsareblind", grid, "03,004") == 1.0


def test_a_rule_that_breaks_costs_its_own_sample_only_and_says_why(monkeypatch, capsys):
    def broken(s: Sample, answer: str) -> float:
        raise OverflowError("too\nlarge")

    monkeypatch.setitem(RULES, "broken", broken)
    plain = sample("B", FRUIT)
    scores = score_all(
        [(plain, "choice", "B"), (plain, "broken", "x"), (plain, "broken", None),
         (sample("1/2"), "math", "0.5")], Grader(),
    )  # fmt: skip
    assert [s.score for s in scores] == [1.0, 0.0, 0.0, 1.0]
    assert scores[1].outcome == f"{FAULT}OverflowError: too large"
    assert scores[2].outcome == "unparsed"
    assert capsys.readouterr().err == (
        "zppo: sample s, rule broken: fault: OverflowError: too large\n"
    )
    with pytest.raises(KeyError):
        score_all([(plain, "no such rule", "x")], Grader())


@pytest.mark.parametrize(
    ("correction", "options", "letters"),
    [("2", ("1", "2", "3", "4"), ("C",)), ("B", ("D", "C", "B", "A"), ("B",)),
     ("A, C", FRUIT, ("A", "C")), ("(A) and (B)", FRUIT, ("A", "B")), ("fig", FRUIT, ("C",)),
     ("B. 2", ("1", "2", "3", "4"), ("B",)), ("7", ("5", "6", "7"), ("C",)),
     ("A few of them", ("a", "b"), ()), ("none", FRUIT, ())],
)  # fmt: skip
def test_mmlu_reduxs_corrections_are_indices_or_letters_before_they_are_texts(
    correction, options, letters
):
    assert corrected_letters(correction, list(options)) == letters


GOLDS = {
    "choice": sample("B", FRUIT), "choice_or_math": sample("B", FRUIT), "math": sample("1/2"),
    "exact": sample("12"), "text": sample("left"), "integer": sample("7"), "anls": sample("word"),
    "mathvista": sample("7", answer_type="integer"), "dynamath": sample("7", answer_type="float"),
    "vlmsareblind": sample("7", task="Line Plot"), "mmmu": sample("7"),
}  # fmt: skip


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_gold_answer_is_right_by_every_rule(rule):
    assert score(rule, GOLDS[rule], GOLDS[rule].gold) == 1.0


@pytest.mark.parametrize("rule", sorted(RULES))
@settings(max_examples=60, deadline=None)
@given(answer=st.text(max_size=80))
def test_any_answer_has_a_score(rule, answer):
    found = RULES[rule](GOLDS[rule], answer)
    assert isinstance(found, Algebra) or 0.0 <= found <= 1.0


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("hostile", ["9" * 50_000, "(" * 50_000, "{" * 50_000, " a" * 30_000,
                                     "1," * 30_000], ids=("digits", "brackets", "braces", "words",
                                                          "numbers"))  # fmt: skip
def test_a_hostile_answer_takes_no_time(rule, hostile):
    start = time.perf_counter()
    RULES[rule](GOLDS[rule], hostile)
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize(
    ("output", "thinking", "cut", "found"),
    [(r"<think>a \boxed{1}</think> so \boxed{2}", True, False, ("2", "last box")),
     ("<think>a</think> It is 5.", True, False, ("It is 5.", "after thinking")),
     ("<think>never ends", True, False, (None, "none")), ("plain words", False, False,
      ("plain words", "after thinking")), ("plain wor", False, True, (None, "none")),
     ("words without end of thinking", True, False, (None, "none"))],
)  # fmt: skip
def test_the_answer_is_the_box_or_what_follows_the_thinking(output, thinking, cut, found):
    assert extract(output, thinking, cut) == found


def test_totals_by_hand():
    scored = [("a/1", 1.0), ("a/2", 0.0), ("a/3", 1.0), ("b/1", 1.0)]
    assert totals.total("pooled", scored).score == 0.75
    assert totals.total("mean_of_groups", scored).score == pytest.approx((2 / 3 + 1) / 2)
    # DynaMath: a question is right if all its variants are
    assert totals.total("worst", scored).score == 0.5
    assert totals.total("only:a", scored).score == pytest.approx(2 / 3)
    assert totals.total("half_or_more", [("a", 0.5), ("b", 0.4)]).score == 0.5
    assert totals.total("only:c", scored) is None


def test_wilson_by_hand():
    # 8 of 10: (0.8 + z²/20 ± z sqrt(0.016 + z²/400)) / (1 + z²/10)
    low, high = totals.wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert totals.wilson(0, 5)[0] == 0.0


@pytest.mark.parametrize(
    ("steps", "whole", "loose", "strict"),
    [((1, 1), 1, 1.0, 1.0), ((1, 0), 1, 1.0, 0.0), ((0, 0), 1, 0.0, 0.0), ((1, 1), 0, 0.5, 0.5),
     ((1, 0), 0, 0.0, 0.0)],
)  # fmt: skip
def test_we_math_s_four_outcomes(steps, whole, loose, strict):
    scored = [(f"p/step{i}", float(s)) for i, s in enumerate(steps)] + [("p/multi", float(whole))]
    assert totals.total("wemath_loose", scored).score == loose
    assert totals.total("wemath_strict", scored).score == strict


def test_mmmu_pro_s_own_total_leaves_the_four_options_out():
    scored = [("standard (4 options)/1", 1.0), ("standard (10 options)/1", 0.0), ("vision/1", 1.0)]
    assert totals.total("mean_of_groups", scored).score == pytest.approx(2 / 3)
    assert totals.total("official", scored).score == 0.5
