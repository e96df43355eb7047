"""The caps, the candidates' order, and what can stand in a prompt."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.algorithm.augmentation_plan import plan_augmentations
from zppo_core.algorithm.reformulation import floor_fraction
from zppo_core.algorithm.reformulations import find
from zppo_core.algorithm.reformulations.bcq import bcq_text, choose_wrong, reformulate_bcq
from zppo_core.algorithm.reformulations.hint import hint_text
from zppo_core.algorithm.reformulations.ncq import reformulate_ncq
from zppo_core.algorithm.step_types import TeacherDraw
from zppo_core.config import ReformulationConfig
from zppo_core.prompts import OURS, Templates, with_closer
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Completion, Grade, Group, Prompt, Question

NONE = np.zeros(0)


def rng(seed=0):
    return np.random.default_rng(seed)


def blocks(prompt: str) -> list[str]:
    """The texts of the candidates in a prompt, in order."""
    return re.findall(r"<candidate>\n(.*?)\n</candidate>", prompt, re.DOTALL)


def test_walk_by_ascending_accuracy_bcq_before_ncq():
    plan = plan_augmentations([0.375, 0.0, 0.25], [True, True, True], 6, rng())
    assert plan == [(1, "bcq"), (1, "ncq"), (2, "bcq"), (2, "ncq"), (0, "bcq"), (0, "ncq")]


def test_with_one_slot_left_bcq_stays_and_ncq_goes():
    assert plan_augmentations([0.0, 0.25], [True, True], 3, rng()) == [
        (0, "bcq"),
        (0, "ncq"),
        (1, "bcq"),
    ]


def test_without_a_correct_teacher_rollout_only_ncq():
    assert plan_augmentations([0.0], [False], 4, rng()) == [(0, "ncq")]


def test_pre_cap_keeps_as_many_questions_as_the_cap():
    # four hard questions, cap 2: the two easiest are gone before the walk
    plan = plan_augmentations([0.0, 0.1, 0.2, 0.3], [False] * 4, 2, rng())
    assert plan == [(0, "ncq"), (1, "ncq")]
    # they do not come back for those that bring nothing
    assert plan_augmentations([0.0, 0.1, 0.2], [False, True, True], 2, rng(), ("bcq",)) == [
        (1, "bcq")
    ]
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

    lazy = plan_augmentations(accuracies, lookup, cap, rng(seed), kinds)
    assert lazy == plan_augmentations(accuracies, correct, cap, rng(seed), kinds)
    assert len(lazy) <= cap
    assert len(asked) == len(set(asked)) <= cap
    assert [accuracies[i] for i, _ in lazy] == sorted(accuracies[i] for i, _ in lazy)
    if kinds == ("ncq",):
        assert not asked
    # the walk comes to a question while the instances of those before it leave a slot
    before = 0
    for index in asked:
        assert before < cap
        before += sum(k == "ncq" or correct[index] for k in kinds)


@pytest.mark.parametrize(
    ("kinds", "cap", "batches"),
    [
        (("bcq", "ncq"), 4, [[0, 1]]),
        (("bcq", "ncq"), 3, [[0], [1]]),
        (("bcq",), 3, [[0, 1, 2]]),
        (("ncq",), 3, []),
    ],
)
def test_the_walk_asks_about_no_more_questions_than_have_a_slot(kinds, cap, batches):
    asked: list[list[int]] = []

    def lookup(indices):
        asked.append(list(indices))
        return [True for _ in indices]

    plan = plan_augmentations([0.0, 0.1, 0.2, 0.3], lookup, cap, rng(), kinds)
    assert plan == [(i, k) for i in range(4) for k in kinds][:cap]
    assert asked == batches
    with pytest.raises(ValueError, match="shorter"):
        plan_augmentations([0.0, 0.1], lambda indices: [], 2, rng())


def test_a_question_without_a_wrong_rollout_gives_nothing_to_reformulate():
    assert plan_augmentations([1.0, 0.5], [True, True], 4, rng()) == [(1, "bcq"), (1, "ncq")]
    assert plan_augmentations([], [], 4, rng()) == []
    assert plan_augmentations([0.0], [True], 0, rng()) == []


@pytest.mark.parametrize(
    ("ratio", "n", "whole"),
    [
        (0.25, 384, 96),
        (0.25, 7, 1),
        (0.25, 3, 0),
        (0.29, 100, 29),
        (0.57, 100, 57),
        (0.0, 9, 0),
        (1.0, 5, 5),
        (0.3, 10, 3),
        (1.5, 4, 6),
    ],
)
def test_a_share_is_rounded_down_and_only_down(ratio, n, whole):
    assert floor_fraction(ratio, n) == whole


def test_right_candidate_is_first_half_of_the_time_and_nothing_else_tells():
    right, wrong = "steps\n\\boxed{1}", "steps\n\\boxed{2}"
    made = [reformulate_bcq("Q?", right, wrong, rng(s)) for s in range(400)]
    assert abs(sum(m.right_first for m in made) - 200) < 5 * 10  # standard deviation 10
    for m in made:
        assert m.right_first in (True, False)
        assert blocks(m.text) == ([right, wrong] if m.right_first else [wrong, right])
    # with the two texts exchanged for one placeholder, all prompts are the same string
    skeletons = {m.text.replace("\\boxed{1}", "X").replace("\\boxed{2}", "X") for m in made}
    assert len(skeletons) == 1


def test_the_order_of_a_bcq_is_drawn_from_the_generator_alone():
    one, two = (
        [reformulate_bcq("Q?", r, w, rng(s)).right_first for s in range(40)]
        for r, w in (("a", "b"), ("much longer than the other", "c"))
    )
    assert one == two
    again = rng(3)
    assert len({reformulate_bcq("Q?", "a", "b", again).right_first for _ in range(40)}) == 2


def test_a_bcq_is_question_statement_two_blocks_and_closer():
    question = Question("q", "How many?", "7")
    text = reformulate_bcq(question, "r", "w", rng()).text
    assert text == reformulate_bcq("How many?", "r", "w", rng()).text
    assert text.startswith("How many?\n")
    assert text.endswith(f"\n{OURS.closer}")
    assert text.count(OURS.closer) == 1
    assert text.count("candidate>") == 1 + 4  # the statement names the tag
    assert "One is right and one is wrong" in text.split("<candidate>\n")[0]
    assert "Two candidate answers" in text
    outside = re.sub(r"<candidate>\n.*?\n</candidate>", "", text, flags=re.DOTALL)
    assert "7" not in outside


def test_ncq_lists_distinct_wrong_answers_and_every_trace():
    wrong = ["a \\boxed{3}", "b \\boxed{5}", "c \\boxed{3}", "d, without any"]
    made = reformulate_ncq("Q?", wrong)
    assert made.right_first is None
    assert made.text.startswith("Q?\n")
    before, after = made.text.split("<candidate>\n", 1)
    assert "These final answers are all wrong: \\boxed{3}, \\boxed{5}.\n" in before
    assert before.count("\\boxed") == 2
    assert blocks(made.text) == wrong
    assert after.count("</candidate>") == 4
    assert made.text.endswith(f"\n{OURS.closer}")
    assert made.text == reformulate_ncq(Question("q", "Q?", "7"), wrong).text


def test_ncq_without_parsed_answers_claims_none_and_without_a_response_is_none():
    text = reformulate_ncq("Q?", ["a"]).text
    assert "\\boxed" not in text.replace(OURS.closer, "")
    assert "all wrong" not in text
    with pytest.raises(ValueError, match="wrong response"):
        reformulate_ncq("Q?", [])


def test_an_ncq_shows_every_wrong_rollout_though_two_say_the_same():
    wrong = ["same \\boxed{3}", "other \\boxed{3}", "same \\boxed{3}"]
    text = reformulate_ncq("Q?", wrong).text
    assert blocks(text) == wrong
    assert text.split("<candidate>\n")[0].count("\\boxed{3}") == 1


def test_ones_own_templates_make_both_prompts(tmp_path):
    (tmp_path / "bcq.jinja").write_text("{{ candidates|join('/') }} {{ question }}")
    (tmp_path / "ncq.jinja").write_text("{{ answers|join('+') }} {{ question }}")
    own = Templates(str(tmp_path))
    assert reformulate_bcq("Q?", "a", "b", rng(), own).text in ("a/b Q?", "b/a Q?")
    assert reformulate_ncq("Q?", ["\\boxed{1}", "\\boxed{2}"], own).text == "1+2 Q?"


def sampled(rewards_and_texts) -> Group:
    """A group with one completion for each (reward, text, answer)."""
    completions = tuple(Completion(t, NONE, NONE, "stop", 0) for _, t, _ in rewards_and_texts)
    grades = tuple(
        Grade(r, "correct" if r else "wrong" if a else "no_box", a) for r, _, a in rewards_and_texts
    )
    return Group("u", "q", "plain", Prompt("Q?"), completions, grades)


def teacher_draws(*rewards: float) -> list[TeacherDraw]:
    return [
        TeacherDraw("q", 0, i, Draw(f"t{i}", NONE, "stop", False), Grade(r, "correct", "1"))
        for i, r in enumerate(rewards)
    ]


MIXED = sampled(
    [(1.0, "r0", "1"), (0.0, "w1", "2"), (0.0, "w2", None), (1.0, "r3", "1"), (0.0, "w4", "3")]
)


def chosen(kind, group, draws, rng, boxed=True):
    settings = ReformulationConfig(wrong="boxed" if boxed else "any")
    return find(kind).choose(group, draws, rng, settings)


def test_a_bcq_is_made_of_one_uniform_right_draw_and_one_uniform_wrong_rollout():
    draws = teacher_draws(0.0, 1.0, 0.0, 1.0, 1.0)
    made = [chosen("bcq", MIXED, draws, rng(s)) for s in range(600)]
    rights, wrongs = [m.right.text for m in made], [m.wrong for m in made]
    assert {len(w) for w in wrongs} == {1}
    for text in ("t1", "t3", "t4"):
        assert abs(rights.count(text) - 200) < 5 * 11.6
    assert set(rights) == {"t1", "t3", "t4"}
    for text in ("w1", "w4"):  # with a box
        assert abs(wrongs.count((text,)) - 300) < 5 * 12.3
    pairs = {(r, w) for r, w in zip(rights, wrongs, strict=True)}
    assert len(pairs) == 6  # each of one with each of the other
    free = [chosen("bcq", MIXED, draws, rng(s), boxed=False).wrong[0] for s in range(600)]
    assert all(abs(free.count(t) - 200) < 5 * 11.6 for t in ("w1", "w2", "w4"))


def test_an_ncq_is_made_of_all_wrong_rollouts_and_of_nothing_else():
    made = chosen("ncq", MIXED, teacher_draws(1.0, 1.0), rng())
    assert made.right is None
    assert made.wrong == ("w1", "w2", "w4")


@pytest.mark.parametrize("kind", ["hint", "prefix"])
def test_hint_and_prefix_are_made_of_a_uniform_right_draw_alone(kind):
    made = [chosen(kind, MIXED, teacher_draws(1.0, 0.0, 1.0), rng(s)) for s in range(200)]
    assert {m.wrong for m in made} == {()}
    assert abs(sum(m.right.text == "t0" for m in made) - 100) < 5 * 7.1
    assert {m.right.text for m in made} == {"t0", "t2"}


def test_choose_wrong_prefers_a_boxed_answer_and_is_uniform_over_them():
    picks = [choose_wrong([None, "1", None, "2"], rng(s)) for s in range(300)]
    assert set(picks) == {1, 3}
    assert abs(picks.count(1) - 150) < 5 * 8.7
    assert {choose_wrong([None, None], rng(s)) for s in range(20)} == {0, 1}


def test_choose_wrong_can_be_uniform_over_all_as_in_the_paper():
    picks = [choose_wrong([None, None, None, "7"], rng(s), boxed=False) for s in range(400)]
    assert all(abs(picks.count(i) - 100) < 5 * 8.7 for i in range(4))


HOSTILE = [
    "</candidate>",
    "< / Candidate >",
    "<candidate>",
    "<|im_end|>",
    "<|vision_start|><|image_pad|>",
    "<|<|image_pad|>|>",
    "</think>",
    "<summary>",
    "<tool_call>",
    OURS.closer,
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_candidate_text_is_neutralised_in_every_prompt(hostile):
    def prompts(filler):
        text = f"a {filler} b"
        return (
            reformulate_bcq("Q?", text, "c", rng()).text,
            reformulate_bcq("Q?", "c", text, rng()).text,
            reformulate_ncq("Q?", [text, rf"\boxed{{{filler}}}"]).text,
            hint_text("Q?", text),
            OURS.compress(text),
            OURS.write_hint("Q?", text),
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


def test_the_closer_goes_from_candidates_in_every_spelling():
    assert OURS.neutralise(f"a {OURS.closer} b") == "a  b"
    assert OURS.neutralise(OURS.closer.replace("<", "[").replace(">", "]")) == ""


def test_what_the_paper_says_of_its_prompts_stands_in_ours():
    assert OURS.closer.index("<think> </think>") < OURS.closer.index("\\boxed{}")
    assert "irst reason" in OURS.closer
    asked = OURS.compress("a response")
    for words in ("at most 5 lines", "<summary>", "\\boxed{}", "unchanged final answer"):
        assert words in asked.split("<response>\n")[0]
    assert "<response>\na response\n</response>" in asked
    judge = OURS.judge("Q?", "gold", "said")
    assert "trust the gold answer" in judge
    assert "Do not solve" in judge
    assert '{"verdict": "correct"} or {"verdict": "wrong"}' in judge
    hint = OURS.write_hint("Q?", "a response")
    assert "Do not give the final answer" in hint
    assert "<hint>" in hint


def test_own_template_folder_replaces_one_file(tmp_path):
    (tmp_path / "closer.jinja").write_text("Box it.")
    own = Templates(str(tmp_path))
    assert own.with_closer("Q?") == "Q?\nBox it."
    assert bcq_text("Q?", "a", "b", True, own).endswith("Box it.")
    assert with_closer("Q?").endswith(OURS.closer)
