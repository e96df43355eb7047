"""Groups and prompts: baselines, trivial groups, and an identity over every field."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zppo_core.types import Completion, Grade, Group, Prompt

NONE = np.zeros(0)


def group(rewards) -> Group:
    completions = tuple(Completion("", NONE, NONE, "stop", 0) for _ in rewards)
    grades = tuple(Grade(r, "correct" if r else "wrong") for r in rewards)
    return Group("u", "q", "plain", Prompt("?"), completions, grades)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9))
def test_accuracy_is_the_mean_reward_and_trivial_groups_are_all_alike(rewards) -> None:
    made = group(rewards)
    assert made.accuracy == pytest.approx(sum(rewards) / len(rewards))
    assert made.trivial is (len(set(rewards)) == 1)
    assert made.rewards_G.tolist() == rewards


def test_a_grade_for_each_completion() -> None:
    made = group([0.0, 1.0])
    with pytest.raises(ValueError, match="2 completions, 1 grades"):
        replace(made, grades=made.grades[:1])


def test_no_two_different_prompts_have_one_digest() -> None:
    prompts = [
        Prompt("a"),
        Prompt("ab"),
        Prompt("a", thinking=True),
        Prompt("a", (b"x",)),
        Prompt("a", (b"y",)),
        Prompt("a", (b"x", b"y")),
        Prompt("a", (b"y", b"x")),
        Prompt("a", (b"xy",)),
        Prompt("a", forced=(1, 2)),
        Prompt("a", forced=(12,)),
        Prompt("a", history=(("user", "b"),)),
        Prompt("a", history=(("user", "c"),)),
        Prompt("a", history=(("assistant", "b"),)),
        Prompt("a", history=(("user", "b"), ("assistant", "c"))),
        Prompt("a", history=(("userb", ""),)),
        Prompt("a", (b"b",), history=(("user", ""),)),
    ]
    for one, two in itertools.combinations(prompts, 2):
        assert one.digest() != two.digest()
    assert Prompt("a", (b"x",)).digest() == Prompt("a", (b"x",)).digest()
