"""Where a response has its answer, and who may judge it: from the reply to the marked sample."""

from __future__ import annotations

import json

import pytest

from eval.benchmark import Sample
from eval.judges import Judge
from eval.protocol import EvalSample, Evaluator, Reply
from eval.scoring import ocrbench
from eval.suite import SUITES
from zppo_core.config import EvaluationConfig
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader

PAPER = {b.name: b for b in SUITES["paper31"]}
FRUIT = ("apple", "pear", "fig", "plum")


def marked(
    name: str,
    sample: Sample,
    text: str,
    judge: Judge | None = None,
    settings: str = "",
    thinking: bool = True,
    cut: bool = False,
) -> EvalSample:
    evaluator = Evaluator(EvaluationConfig(settings=settings), Templates(), Grader(), judge)
    reply = Reply.of(text, thinking=thinking, cut=cut)
    return evaluator.score(PAPER[name], [(sample, reply)])[0]


def agreeing() -> Judge:
    """A judge that finds everything right."""

    def says(prompt, member):
        whole = {"extracted_final_answer": "", "reasoning": "", "correct": "yes", "confidence": 9}
        return json.dumps(whole if "confidence" in prompt.text else {"verdict": "correct"})

    return Judge(ScriptedEngine(says, "judge"))


@pytest.mark.parametrize(
    ("text", "answer", "score"),
    [
        (
            r"t</think>The energy obeys \boxed{\langle H\rangle \ll \Delta E}. **Answer: D**",
            "D",
            1.0,
        ),
        (r"t</think>So \boxed{\text{plum}}. Answer: A", r"\text{plum}", 1.0),  # a box that chooses
        (r"t</think>\boxed{A}. Answer: D", "A", 0.0),
        ("t</think>It hangs on trees.\nThe correct answer is (D).", "D", 1.0),
        (r"t</think>\boxed{7}", "7", 0.0),
        (r"t \boxed{D}</think>Answer: A", "Answer: A", 0.0),
    ],
)
def test_a_choice_is_its_box_or_an_explicit_line_behind_the_thought(text, answer, score):
    found = marked("MMLU", Sample("s", "q", "D", options=FRUIT), text)
    assert (found.answer, found.score) == (answer, score)


def test_the_judge_sees_the_explicit_line_and_not_a_formula_that_stands_in_a_box():
    judge = agreeing()
    sample = Sample("s", "q", "C", options=FRUIT)
    marked("MMLU", sample, r"t</think>\boxed{x > 1}. Answer: D", judge)
    assert "<response>\nD\n</response>" in judge.engine.asked[0].text


@pytest.mark.parametrize("name", ["MMLU", "AIME25", "HLE", "InfoVQA"])
@pytest.mark.parametrize("text", [r"<think> so \boxed{D}", r"so \boxed{D}", "I am still at it"])
def test_a_reasoning_that_never_ends_has_no_answer_and_is_not_judged(name, text):
    judge = agreeing()
    found = marked(name, Sample("s", "q", "D", options=FRUIT), text, judge, cut=True)
    assert (found.answer, found.score, found.outcome) == (None, 0.0, "unfinished")
    assert judge.engine.asked == []
    if PAPER[name].kind != "rule":  # as the paper's judge may, if one wants that
        found = marked(
            name,
            Sample("s", "q", "D", options=FRUIT),
            text,
            agreeing(),
            "judge_unfinished=true",
            cut=True,
        )
        assert (found.answer, found.score, found.outcome) == (None, 1.0, "correct")


def test_a_finished_response_without_an_answer_goes_to_the_judge_as_a_whole():
    found = marked(
        "MMLU",
        Sample("s", "q", "D", options=FRUIT),
        "It is a pl",
        agreeing(),
        thinking=False,
        cut=True,
    )
    assert (found.answer, found.score) == (None, 1.0)
    alone = marked(
        "MMLU", Sample("s", "q", "D", options=FRUIT), "It is a pl", thinking=False, cut=True
    )
    assert alone.outcome == "unparsed"


@pytest.mark.parametrize(
    ("kind", "how", "answer", "gold", "score"),
    [
        ("science QA en", "multiple choice", r"\text{B}", "B", 1.0),
        ("cognition VQA en", "None", r"50\%", "50%", 1.0),
        ("cognition VQA en", "None", r"\textbf{Ann Smith}", "Ann Smith", 1.0),
        ("text recognition en", "case sensitive", r"A\&B", "A&B", 1.0),
        ("text recognition en", "case sensitive", r"a\&b", "A&B", 0.0),
        ("cognition VQA cn", "None", r"\mathrm{王明}", "王明", 1.0),
        ("formula recognition en", "None", r"\frac{a}{b}", r"\frac{a}{b}", 1.0),
        ("key information extraction en", "None", r'\{"total": "12"\}', '{"total": ["12"]}', 1.0),
    ],
)
def test_ocrbench_sees_the_answer_without_the_dress_of_its_box(kind, how, answer, gold, score):
    extra = {"type": kind, "eval": how, "question": "What?"}
    assert ocrbench.score(answer, [gold], extra) == score
