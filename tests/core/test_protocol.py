"""Section 9: how an evaluation asks, with the decoding of its configuration and the closer."""

from eval.benchmark import Sample
from eval.protocol import Evaluator
from zppo_core.config import Config, load
from zppo_core.prompts import OURS, Templates
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader


def test_the_papers_decoding_reaches_the_engine() -> None:
    evaluator = Evaluator(Config().evaluation, Templates(), Grader())
    assert evaluator.sampling() == Sampling(12_288, 1, 0.6, 0.95, 20, 0.0, 1.5, 1.0)


def test_each_field_of_the_decoding_is_the_configurations() -> None:
    sets = {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 3,
        "min_p": 0.125,
        "presence_penalty": 0.75,
        "repetition_penalty": 1.25,
    }
    config = load("4B", [f"evaluation.{k}={v}" for k, v in sets.items()])
    asked = Evaluator(config.evaluation, Templates(), Grader()).sampling()
    assert {k: getattr(asked, k) for k in sets} == sets
    assert asked.n == 1  # pass@1


def test_questions_are_asked_with_the_closer_of_training() -> None:
    evaluator = Evaluator(Config().evaluation, Templates(), Grader())
    sample = Sample("s", "How many?", "2")
    for thinking in (True, False):
        asked = evaluator.ask(sample, thinking)
        assert asked.text == f"How many?\n{OURS.closer}" == OURS.with_closer("How many?")
        assert asked.thinking is thinking
