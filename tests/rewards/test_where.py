from __future__ import annotations

import pytest

from zppo_core.rewards.grader import grade
from zppo_core.rewards.where import find_answer, whole_turn


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (r"<think>\boxed{4}</think> \boxed{5}", ("5", None)),
        (r"maybe \boxed{4}</think> \boxed{5}", ("5", None)),  # the prompt opened the thought
        (r"<think>\boxed{4}</think> five", (None, "no_box")),
        (r"<think> so \boxed{5}", (None, "unfinished")),
        (r"<think>a</think> <think> \boxed{5}", (None, "unfinished")),
        (r"<think>a</think> <think>b</think> \boxed{5}", ("5", None)),
        (r"\boxed{5} I put it in \boxed{}.", ("5", None)),
        (r"\boxed{5} \boxed{ }", ("5", None)),
        (r"\boxed{ \boxed{5} }", ("5", None)),
        (r"\boxed{x = \boxed{5}}", (r"x = \boxed{5}", None)),
        (r"\boxed{}", ("", None)),
        ("five", (None, "no_box")),
    ],
)
def test_the_answer_stands_in_the_last_full_box_behind_the_thought(response, found) -> None:
    assert find_answer(response) == found


def test_a_thought_that_never_ends_has_no_answer() -> None:
    assert grade(r"<think> so \boxed{5}", "5").outcome == "unfinished"
    assert grade(r"<think> so \boxed{5}", "5").reward == 0.0


@pytest.mark.parametrize(
    ("text", "thinking", "cut", "outcome"),
    [
        (r"so \boxed{5} and", True, True, "unfinished"),  # cut inside of the thought
        (r"so \boxed{5}", True, False, "correct"),  # answered without a thought
        (r"so \boxed{5} and", False, True, "correct"),  # no thought was asked for
        (r"so</think> \boxed{5} and", True, True, "correct"),
    ],
)
def test_a_response_that_is_cut_in_its_thought_is_unfinished(text, thinking, cut, outcome) -> None:
    turn = whole_turn(text, thinking, cut)
    assert grade(turn, "5").outcome == outcome
    assert (turn == text) == (outcome != "unfinished")
