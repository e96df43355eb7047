"""Labelled pairs: the audit's cases, and those of the benchmark in benchmarks/."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zppo_core
from zppo_core.errors import UserError
from zppo_core.rewards.answers import AnswerSpec, known_kind, spec_of
from zppo_core.rewards.grader import Grader, _grader, grade

HERE = Path(__file__).parent
CASES = [json.loads(line) for line in (HERE / "cases.jsonl").read_text("utf-8").splitlines()]
PAIRS = HERE.parents[1] / "benchmarks" / "grading_pairs.jsonl"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["response"][:40])
def test_the_cases_of_the_audit_have_their_right_reward(case) -> None:
    assert grade(case["response"], case["gold"], case.get("kind", "")).reward == case["reward"]


# what is right and not seen: arithmetic that looks like a range, words that join otherwise
MISSED = {
    ("3-10", "-7"),
    ("3-20", "-17"),
    ("500 bc", "500 BC"),
    ("xy", "x y"),
    ("the x-axis", r"x\text{-axis}"),
}


def test_no_wrong_pair_is_rewarded_and_few_right_ones_are_missed() -> None:
    grader, pairs, labels = _grader(), [], []
    for line in PAIRS.read_text("utf-8").splitlines():
        row = json.loads(line)
        spec = spec_of(**row.get("spec", {}))
        for label in ("right", "wrong"):
            for answer in row[label]:
                pairs.append((rf"\boxed{{{answer}}}", row["gold"], spec))
                labels.append(label == "right")
    rewards = [g.reward == 1.0 for g in grader.grade_many(pairs)]
    false = [p[:2] for p, r, right in zip(pairs, rewards, labels, strict=True) if r and not right]
    missed = {p[:2] for p, r, right in zip(pairs, rewards, labels, strict=True) if right and not r}
    assert false == []
    assert missed == {(rf"\boxed{{{answer}}}", gold) for answer, gold in MISSED}
    assert len({json.loads(line)["kind"] for line in PAIRS.open(encoding="utf-8")}) >= 30


@pytest.mark.parametrize(
    ("answer", "gold", "spec", "right"),
    [
        ("D, B, A", "D, B, A", {"kind": "ordering"}, True),
        ("A, B, D", "D, B, A", {"kind": "ordered list"}, False),
        ("2, 1", "1, 2", {"kind": "set or unordered list"}, True),
        ("007", "7", {"kind": "integer"}, True),
        ("7", "007", {"kind": "code"}, False),
        ("4:6", "2:3", {"kind": "ratio"}, True),
        ("T", "True", {"kind": "boolean"}, True),
        ("34.9", "35", {"tolerance": 0.01}, True),
        ("34", "35", {"tolerance": 0.01}, False),
        (r"\sqrt{2}", "1.4", {"tolerance": 0.02}, True),
        (r"\sqrt{2}", "1.43", {"tolerance": 0.02}, True),
        (r"\sqrt{2}", "1.45", {"tolerance": 0.02}, False),
        ("grey", "gray", {"accepted": ("grey",)}, True),
        ("45", "B", {"options": ("40", "45")}, True),
        ("B. 40", "B", {"options": ("40", "45")}, False),
        ("5", "C", {"options": ("5 cm", "5 mm", "5 m")}, False),  # of which of the three?
        ("B", "45", {"options": ("40", "45")}, True),
    ],
)
def test_the_corpus_may_say_what_an_answer_is(answer, gold, spec, right) -> None:
    assert grade(rf"\boxed{{{answer}}}", gold, **spec).reward == float(right)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="'colour' is unknown; the kinds are choice, number"):
        AnswerSpec(kind="colour")
    assert known_kind("quantity with unit") == "quantity"
    assert known_kind("list_match") == "list"
    assert known_kind("") == known_kind("auto") == ""
    assert known_kind("integers") == "number"
    assert known_kind("ratio or score") == "ratio"  # the first word that is known decides


def test_the_public_names_are_loaded_when_they_are_used_and_without_torch() -> None:
    code = "import sys, zppo_core; assert 'numpy' not in sys.modules; zppo_core.grade('', '5'); "
    code += "assert 'torch' not in sys.modules and 'pint' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"grade", "extract_boxed", "AnswerSpec", "Grade"} <= set(dir(zppo_core))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = zppo_core.no_such_name


HOSTILE = [
    "9^{9^{9^{9}}}",
    "9**9**9",
    "10!!!!!",
    "(" * 5000 + "1" + ")" * 5000,
    "1," * 900 + "1",
    r"\frac{1}{" * 500 + "2" + "}" * 500,
    "x^" * 300 + "x",
    "-" * 1000,
    "1" * 1999,
    "a" * 1999,
    "a" * 1900 + "=5",
    r"\text{" * 300 + "x" + "}" * 300,
    "5 " + "m" * 1900,
    "1-" * 900 + "1",
    r"\pm " * 100 + "1",
    "1 and " * 300 + "1",
    "{" * 900 + "}" * 900,
    "x=" * 600 + "1",
    r"(1,2)\cup" * 100 + "(1,2)",
    "1:" * 900 + "1",
    r"\binom{10^9}{10^8}",
    r"\sin(10^{10^{10}})",
    "e^{e^{e^{e^{e}}}}",
    r"\begin{pmatrix}" + "1&" * 900 + r"1\end{pmatrix}",
    "<" * 1900,
    "km/" * 600 + "h",
    "½" * 1000,
    "**" * 900,
    r"\overline{" * 400,
    "5 ft " * 400,
    "x " * 900,
    "a_{" * 600,
    "|" * 1500,
    "1 " * 900,
    "\\" * 1900,
    "f(" * 900,
    "A. " * 600,
    "一" * 1900,
]
GOLDS = ("5", "A", "5 cm", "(1,2)", "x+1", "1, 2", "2020-01-03", "25-34", "blue", "0.33", "x>5")


def test_hostile_answers_end_within_the_limit_and_earn_nothing() -> None:
    grader = Grader(workers=1, timeout=2.0)
    grader.grade_many([(r"\boxed{\sin 2x}", r"2\sin x\cos x")])  # starts the worker
    for answer in HOSTILE:
        start = time.perf_counter()
        grades = grader.grade_many([(rf"\boxed{{{answer}}}", gold) for gold in GOLDS])
        assert [g.reward for g in grades] == [0.0] * len(GOLDS), answer[:40]
        assert time.perf_counter() - start < 2.0 + 0.3 * len(GOLDS), answer[:40]
    grader.close()


@pytest.mark.parametrize(
    "unit", ["(", "1,", "x+", "a ", r"\frac{1}{", "-", "=", "5 m ", "１", "A, "]
)
def test_the_cost_of_a_long_answer_grows_no_faster_than_its_length(unit: str) -> None:
    def cost(size: int) -> float:
        answer = unit * (size // len(unit))
        start = time.perf_counter()
        grade(rf"\boxed{{{answer}}} " * 2 + rf"\boxed{{{answer}", "5")
        return time.perf_counter() - start

    cost(1000)
    small = min(cost(40_000) for _ in range(3))
    bound = 8 * 4 * max(small, 1e-3)
    # the least of a few: a busy machine makes one dear, a quadratic cost makes all of them dear
    assert any(cost(320_000) < bound for _ in range(8))
