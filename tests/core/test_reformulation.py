"""The caps, the candidates' order, and what can stand in a prompt."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.prompts import OURS, Templates, with_closer
from zppo_core.reformulation import (
    build_bcq,
    build_ncq,
    choose_wrong,
    plan_augmentations,
    plan_lazily,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_walk_by_ascending_accuracy_bcq_before_ncq():
    plan = plan_augmentations([0.375, 0.0, 0.25], [True, True, True], 6, rng())
    assert plan == [(1, "bcq"), (1, "ncq"), (2, "bcq"), (2, "ncq"), (0, "bcq"), (0, "ncq")]


def test_with_one_slot_left_bcq_stays_and_ncq_goes():
    assert plan_augmentations([0.0, 0.25], [True, True], 3, rng()) == [
        (0, "bcq"), (0, "ncq"), (1, "bcq"),
    ]  # fmt: skip


def test_without_a_correct_teacher_rollout_only_ncq():
    assert plan_augmentations([0.0], [False], 4, rng()) == [(0, "ncq")]


def test_pre_cap_keeps_as_many_questions_as_the_cap():
    # four hard questions, cap 2: the two easiest are gone before the walk
    plan = plan_augmentations([0.0, 0.1, 0.2, 0.3], [False] * 4, 2, rng())
    assert plan == [(0, "ncq"), (1, "ncq")]
    # BCQ alone and no teacher for the hardest two: nothing is left, the third is never reached
    assert plan_augmentations([0.0, 0.1, 0.2], [False, False, True], 2, rng(), ("bcq",)) == []


def test_ties_are_shuffled_by_the_seed_alone():
    plans = {tuple(plan_augmentations([0.0] * 6, [False] * 6, 3, rng(s))) for s in range(20)}
    assert len(plans) > 5
    again = plan_augmentations([0.0] * 6, [False] * 6, 3, rng(7))
    assert again == plan_augmentations([0.0] * 6, [False] * 6, 3, rng(7))


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=14),
    st.integers(0, 10),
    st.sampled_from([("bcq", "ncq"), ("bcq",), ("ncq",), ("hint",)]),
    st.integers(0, 5),
)
def test_lazy_plan_is_the_eager_plan_and_never_asks_beyond_the_walk(hard, cap, kinds, seed):
    accuracies = [k / 8 for k, _ in hard]
    correct = [c for _, c in hard]
    asked: list[int] = []

    def lookup(indices):
        asked.extend(indices)
        return [correct[i] for i in indices]

    lazy = plan_lazily(accuracies, cap, rng(seed), kinds, lookup)
    assert lazy == plan_augmentations(accuracies, correct, cap, rng(seed), kinds)
    assert len(lazy) <= cap
    assert len(asked) == len(set(asked)) <= cap
    assert [accuracies[i] for i, _ in lazy] == sorted(accuracies[i] for i, _ in lazy)
    if kinds == ("ncq",):
        assert not asked


def test_right_candidate_is_first_half_of_the_time_and_nothing_else_tells():
    right, wrong = "steps\n\\boxed{1}", "steps\n\\boxed{2}"
    prompts = [build_bcq("Q?", right, wrong, rng(s)) for s in range(400)]
    first = sum(p.index("\\boxed{1}") < p.index("\\boxed{2}") for p in prompts)
    assert abs(first - 200) < 5 * 10  # standard deviation 10
    # with the two texts exchanged for one placeholder, all prompts are the same string
    skeletons = {p.replace("\\boxed{1}", "X").replace("\\boxed{2}", "X") for p in prompts}
    assert len(skeletons) == 1


def test_ncq_lists_distinct_wrong_answers_and_every_trace():
    text = build_ncq("Q?", ["3", "5", "3"], ["a", "b", "c"])
    assert "\\boxed{3}, \\boxed{5}." in text
    assert text.count("<candidate>\n") == text.count("\n</candidate>") == 3
    assert text.endswith(OURS.closer)


def test_ncq_without_parsed_answers_claims_none():
    assert "\\boxed" not in build_ncq("Q?", [], ["a"]).replace(OURS.closer, "")


def test_choose_wrong_prefers_a_boxed_answer_and_is_uniform_over_them():
    picks = [choose_wrong([None, "1", None, "2"], rng(s)) for s in range(300)]
    assert set(picks) == {1, 3}
    assert abs(picks.count(1) - 150) < 5 * 8.7
    assert {choose_wrong([None, None], rng(s)) for s in range(20)} == {0, 1}


def test_choose_wrong_can_be_uniform_over_all_as_in_the_paper():
    picks = [choose_wrong([None, None, None, "7"], rng(s), boxed=False) for s in range(400)]
    assert all(abs(picks.count(i) - 100) < 5 * 8.7 for i in range(4))


HOSTILE = [
    "</candidate>", "< / Candidate >", "<candidate>", "<|im_end|>", "<|vision_start|><|image_pad|>",
    "<|<|image_pad|>|>", "</think>", "<summary>", "<tool_call>", OURS.closer,
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_candidate_text_is_neutralised_in_every_prompt(hostile):
    def prompts(filler):
        text = f"a {filler} b"
        return (
            build_bcq("Q?", text, "c", rng()),
            build_ncq("Q?", [filler], [text]),
            OURS.hint("Q?", text),
            OURS.compress(text),
            OURS.judge("Q?", "g", text),
        )

    def structure(prompt):
        return re.findall(r"<[^<>]*>", prompt), prompt.count(OURS.closer)

    for prompt, harmless in zip(prompts(hostile), prompts("x"), strict=True):
        assert structure(prompt) == structure(harmless)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([*HOSTILE, "x", "<", "|>", "<|", ">", "\n"]), max_size=8))
def test_neutralise_is_idempotent_and_leaves_no_control_text(parts):
    text = OURS.neutralise("".join(parts))
    assert OURS.neutralise(text) == text
    assert not re.search(r"<\|[^<>|]*\|>|<\s*/?\s*candidate\s*/?\s*>", text, re.IGNORECASE)
    assert OURS.closer not in text


def test_own_template_folder_replaces_one_file(tmp_path):
    (tmp_path / "closer.jinja").write_text("Box it.")
    own = Templates(str(tmp_path))
    assert own.with_closer("Q?") == "Q?\nBox it."
    assert own.bcq("Q?", "a", "b", True).endswith("Box it.")
    assert with_closer("Q?").endswith(OURS.closer)
