"""Deterministic rules and totals, with values worked out by hand from the official definitions."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmark import Sample
from eval.benchmarks.mmlu_redux import corrected_letters
from eval.scoring import FAULT, ocrbench, score_all, totals
from eval.scoring.closed_form import value_of
from eval.scoring.dress import undressed
from eval.scoring.extract import extract
from eval.scoring.rules import (
    RULES,
    Algebra,
    anls,
    answer_line,
    choice,
    dynamath,
    mathvista_value,
    number_of,
)
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
    [
        ("B", 1),
        ("(b)", 1),
        ("B.", 1),
        ("B. pear", 1),
        ("pear", 1),
        ("Pear", 1),
        ("answer: B", 1),
        ("A", 0),
        ("B. apple", 0),
        ("D", 0),
        ("apple", 0),
        ("A or B", 0),
        ("", 0),
    ],
)
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
    [
        ("integer", None, "7.9", "7"),
        ("float", 1, "3.14159", "3.1"),
        ("float", 2, "2", "2.0"),
        ("text", None, "a cat", "a cat"),
        ("integer", None, "many", None),
    ],
)
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
    [
        ("1.571", "float", r"\frac{\pi}{2}", 1),
        ("1.571", "float", "1.5712", 1),
        ("1.571", "float", "1.573", 0),
        ("0.5", "float", "1/2", 1),
        ("yes it is even", "text", "even", 1),
        ("odd", "text", "even", 0),
        ("odd", "text", "", 0),
    ],
)
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
    [
        ("Counting Grid - Blank Grids", "3,4", "3 x 4", 1),
        ("Counting Grid - Blank Grids", "3,4", "{3}{4}", 1),
        ("Counting Grid - Blank Grids", "3,4", "rows={3} columns={4}", 1),
        ("Counting Grid - Blank Grids", "3,4", "4,3", 0),
        ("Circled Letter", "k", "{K}", 1),
        ("Touching Circles", "Yes", "yes.", 1),
        ("Touching Circles", "Yes", "no", 0),
    ],
)
def test_vlms_are_blind(task, gold, answer, right):
    assert score("vlmsareblind", sample(gold, task=task), answer) == right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("12.5", "x = 12.50", 1),
        ("1000", "1,000", 1),
        ("12.5", "12.4", 0),
        ("sinus rhythm", "a sinus rhythm", 1),
        ("b", "a b c", 1),
        ("b", "abc", 0),
    ],
)
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
        [
            (plain, "choice", "B"),
            (plain, "broken", "x"),
            (plain, "broken", None),
            (sample("1/2"), "math", "0.5"),
        ],
        Grader(),
    )
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
    [
        ("2", ("1", "2", "3", "4"), ("C",)),
        ("B", ("D", "C", "B", "A"), ("B",)),
        ("A, C", FRUIT, ("A", "C")),
        ("(A) and (B)", FRUIT, ("A", "B")),
        ("fig", FRUIT, ("C",)),
        ("B. 2", ("1", "2", "3", "4"), ("B",)),
        ("7", ("5", "6", "7"), ("C",)),
        ("A few of them", ("a", "b"), ()),
        ("none", FRUIT, ()),
    ],
)
def test_mmlu_reduxs_corrections_are_indices_or_letters_before_they_are_texts(
    correction, options, letters
):
    assert corrected_letters(correction, list(options)) == letters


GOLDS = {
    "choice": sample("B", FRUIT),
    "choice_or_math": sample("B", FRUIT),
    "math": sample("1/2"),
    "exact": sample("12"),
    "text": sample("left"),
    "integer": sample("7"),
    "anls": sample("word"),
    "mathvista": sample("7", answer_type="integer"),
    "dynamath": sample("7", answer_type="float"),
    "vlmsareblind": sample("7", task="Line Plot"),
    "mmmu": sample("7"),
}


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
@pytest.mark.parametrize(
    "hostile",
    ["9" * 50_000, "(" * 50_000, "{" * 50_000, " a" * 30_000, "1," * 30_000],
    ids=("digits", "brackets", "braces", "words", "numbers"),
)
def test_a_hostile_answer_takes_no_time(rule, hostile):
    start = time.perf_counter()
    RULES[rule](GOLDS[rule], hostile)
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize(
    ("output", "thinking", "cut", "found"),
    [
        (r"<think>a \boxed{1}</think> so \boxed{2}", True, False, ("2", "last box")),
        ("<think>a</think> It is 5.", True, False, ("It is 5.", "after thinking")),
        ("<think>never ends", True, False, (None, "unfinished")),
        ("plain words", False, False, ("plain words", "after thinking")),
        ("plain wor", False, True, (None, "none")),
        ("words without end of thinking", True, False, (None, "unfinished")),
        # a box of the thought is no answer
        (
            r"<think>maybe \boxed{4}? no, 5</think> The answer is 5.",
            True,
            False,
            ("The answer is 5.", "after thinking"),
        ),
        (r"maybe \boxed{4}</think>", True, False, (None, "none")),
        (r"<think>so \boxed{4}", False, False, (None, "unfinished")),
        (r"so \boxed{4}", True, True, (None, "unfinished")),
        # it stopped by itself: a model may answer without thinking
        (r"so \boxed{4}", True, False, ("4", "last box")),
        (r"so \boxed{4}", False, True, ("4", "last box")),
        (r"<think>a</think>\boxed{4}<think>or", True, False, (None, "unfinished")),
    ],
)
def test_the_answer_is_the_box_or_what_follows_the_thinking(output, thinking, cut, found):
    assert extract(output, thinking, cut) == found


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        (r"50\%", "50%"),
        (r"\$5,000", "$5,000"),
        (r"\text{B}", "B"),
        (r"\textit{Paris}", "Paris"),
        (r"\textcolor{red}{Paris}", "Paris"),
        (r"\color{red}{Paris}", "Paris"),
        (r"{\color{blue} Paris}", "Paris"),
        (r"\color{blue}Paris", "Paris"),
        (r"\mathcal{Paris}", "Paris"),
        (r"{\rm Paris}", "Paris"),
        (r"\Large Paris", "Paris"),
        (r"\text{\textcolor{red}{New} York}", "New York"),
        (r"\frac{\rm m}{s}", r"\frac{ m}{s}"),
        (r"\largest", r"\largest"),
        (r"\mathbf{\text{A \& B}}", "A & B"),
        ("**73**", "73"),
        ("`x_1`", "x_1"),
        ("$5$", "5"),
        ("$5 and $6", "$5 and $6"),
        ("$5", "$5"),
        (r"\(x\)", "x"),
        (r"1{,}000", "1,000"),
        (r"12\,500", "12,500"),
        (r"a\_b", "a_b"),
        (r"\{3\}", "{3}"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"\left(1, 2\right)", "(1, 2)"),
        ("2*3*4", "2*3*4"),
        (r"\$a$", "$a$"),
        ("", ""),
        (r"\underline{\emph{no}}", "no"),
        (r"New~York", "New York"),
    ],
)
def test_an_answer_without_the_dress_of_its_box(answer, plain):
    assert undressed(answer) == plain


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("７３", "73"), ("5–10", "5-10"), ("1，000", "1,000"), ("“a”", '"a"'), ("２５ ％", "25 %")],
)
def test_typography_is_no_difference_to_any_rule(answer, gold):
    assert score("anls", sample(gold), answer) == 1.0
    assert score("anls", sample(answer), gold) == 1.0
    text = {"answer_type": "text"}
    for rule, extra in (("mathvista", text), ("dynamath", text), ("mmmu", {})):
        assert score(rule, sample(gold, **extra), answer) == 1.0
    row = {"type": "cognition VQA en", "eval": "None"}
    assert ocrbench.score(answer, [gold], row) == 1.0


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=st.characters(exclude_characters="\\$*_`~{}", exclude_categories=("Cs", "Co")))
)
def test_plain_words_have_no_dress_and_every_dress_comes_off(words):
    plain = undressed(words)
    assert plain == words.strip()
    if plain:
        for dress in (r"\text{%s}", "**%s**", r"\textbf{\mathrm{%s}}", r"\boxed{%s}"):
            assert undressed(dress % plain) == plain


def test_the_dress_of_a_hostile_answer_takes_no_time():
    start = time.process_time()
    for unit in (r"\text{", "$", "*", "\\", "{,}", "~", r"1\,000", "`", r"\$"):
        undressed(unit * (100_000 // len(unit)))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("rule", "answer", "gold", "extra", "right"),
    [
        ("anls", r"\$5,000", "$5,000", {}, 1.0),
        ("anls", r"\textit{Paris}", "Paris", {}, 1.0),
        ("anls", r"\textcolor{red}{Paris}", "Paris", {}, 1.0),
        ("anls", r"\textcolor{red}{Paris}", "red", {}, 0.0),
        ("choice", "(b) or (c)", "B", {}, 0.0),
        ("choice", "B. The cat did not move", "B", {}, 1.0),
        ("integer", "m+n=73", "73", {}, Algebra((("m+n=73", "73"),))),
        ("anls", "**42**", "42", {}, 1.0),
        ("choice", "**B**", "B", {}, 1.0),
        ("choice", r"\mathsf{B}", "B", {}, 1.0),
        ("choice", "B: A, C, D", "B", {}, 0.0),
        ("choice", "B, C", "B", {}, 0.0),
        ("choice", "B. or C", "B", {}, 0.0),
        ("choice", "B) not A", "B", {}, 0.0),
        ("choice", "B. a triangle", "B", {}, 1.0),
        ("choice", "(B) A triangle", "B", {}, 1.0),
        ("choice", "A. a triangle", "B", {}, 0.0),
        ("choice", "the correct option is (B)", "B", {}, 1.0),
        ("mathvista", "1,000", "1000", {"answer_type": "integer"}, 1.0),
        ("mathvista", r"1{,}000", "1000", {"answer_type": "integer"}, 1.0),
        ("mathvista", r"\frac{1}{2}", "0.5", {"answer_type": "float", "precision": 1}, 1.0),
        ("mathvista", "50%", "0", {"answer_type": "integer"}, 0.0),
        ("dynamath", r"\sqrt{2}", "1.414", {"answer_type": "float"}, 1.0),
        ("dynamath", r"\frac{3\sqrt{3}}{2}", "2.598", {"answer_type": "float"}, 1.0),
        ("dynamath", r"\sqrt{3}", "1.414", {"answer_type": "float"}, 0.0),
        ("dynamath", r"\ln 2", "0.693", {"answer_type": "float"}, 1.0),
        ("dynamath", "**even**", "even", {"answer_type": "text"}, 1.0),
        ("vlmsareblind", r"\textbf{3}", "3", {"task": "Line Plot Intersections"}, 1.0),
        ("vlmsareblind", "**3 x 4**", "3,4", {"task": "Counting Grid - Word Grids"}, 1.0),
        ("text", r"\textit{left}", "left", {}, 1.0),
        ("mmmu", "**12.5**", "12.5", {}, 1.0),
    ],
)
def test_every_rule_sees_the_answer_without_its_dress(rule, answer, gold, extra, right):
    found = RULES[rule](sample(gold, **extra), answer)
    assert found == right


def test_an_options_text_may_be_dressed_as_its_box_wants():
    percent = sample("B", ("50%", "60%", "70%"))
    assert score("choice", percent, r"60\%") == 1.0
    assert score("choice", percent, r"70\%") == 0.0
    assert score("choice", percent, r"b. 60\%") == 1.0
    assert score("choice", percent, r"(b) 70\%") == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"2\sqrt{3}", 2 * 3**0.5),
        (r"\sqrt[3]{8}", 2.0),
        (r"\frac12", 0.5),
        ("√2/2", 2**0.5 / 2),
        (r"\frac{\pi}{4}", math.pi / 4),
        ("-π", -math.pi),
        ("2^{10}", 1024.0),
        ("e", math.e),
        (r"3\cdot(1+\sqrt{5})/2", 1.5 * (1 + 5**0.5)),
        ("1,000 + 1", 1001.0),
        ("2^-1", 0.5),
        # not for us to say, or nothing
        (r"3\frac{1}{2}", None),
        ("2 3", None),
        ("x", None),
        ("pie", None),
        ("1/0", None),
        ("", None),
        ("(1", None),
        (r"\sqrt{-1}", None),
        ("9^9^9^9", None),
        ("(" * 300, None),
        ("1 2+", None),
        ("5 cm", None),
        ("1e999", None),
        ("--1", None),
        ("(-8)^{1/3}", None),
    ],
)
def test_closed_forms_have_their_value_and_nothing_else_has_one(text, value):
    assert value_of(text) == (None if value is None else pytest.approx(value))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.+-*/^(){}[]\\sqrtfacpie√π ", max_size=60))
def test_any_text_is_a_closed_form_or_none(text):
    value = value_of(text)
    assert value is None or math.isfinite(value)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("It is so.\n**Answer: D**", "D"),
        ("The correct answer is (B).", "B"),
        ("Answer: d", None),
        ("the answer is A bird", None),
        (r"Final answer: \text{C}", "C"),
        ("Answer: E", None),
        ("Answer: A\nNo, wait. Answer: B", "B"),
        ("option C", "C"),
        ("Answer:", None),
        ("", None),
        ("Answer: A or B", None),
    ],
)
def test_an_explicit_last_line_names_a_choice(text, letter):
    assert answer_line(text, ("a", "b", "c", "d")) == letter


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
    [
        ((1, 1), 1, 1.0, 1.0),
        ((1, 0), 1, 1.0, 0.0),
        ((0, 0), 1, 0.0, 0.0),
        ((1, 1), 0, 0.5, 0.5),
        ((1, 0), 0, 0.0, 0.0),
    ],
)
def test_we_math_s_four_outcomes(steps, whole, loose, strict):
    scored = [(f"p/step{i}", float(s)) for i, s in enumerate(steps)] + [("p/multi", float(whole))]
    assert totals.total("wemath_loose", scored).score == loose
    assert totals.total("wemath_strict", scored).score == strict


def test_mmmu_pro_s_own_total_leaves_the_four_options_out():
    scored = [("standard (4 options)/1", 1.0), ("standard (10 options)/1", 0.0), ("vision/1", 1.0)]
    assert totals.total("mean_of_groups", scored).score == pytest.approx(2 / 3)
    assert totals.total("official", scored).score == 0.5


OPTIONS = ("40", "45", "the red one", "none of these")


@pytest.mark.parametrize("options", [OPTIONS, ()])
@pytest.mark.parametrize("gold", "ABCD")
@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B. 45",
        "(b) 45",
        "**B**",
        r"\text{B}",
        "option B",
        "45",
        "B. 40",
        "B or C",
        "not B",
        "C",
        "the red one",
        "The red one.",
        "E",
        "",
        "A, B",
        "B: 45",
        "D) none",
    ],
)
def test_reward_and_evaluation_agree_on_choices(answer, gold, options) -> None:
    reward = grade(rf"\boxed{{{answer}}}", gold, kind="choice", options=options).reward
    assert choice(sample(gold, options), answer) == reward
