"""What a rival's step takes for a demonstration, a rescue, an evidence or a further round."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scripted_world import (
    MANY,
    Learner,
    Watched,
    World,
    asked_of,
    encoded,
    student_with,
    teacher_with,
)

from zppo_core.algorithm.demonstrations import evidence, with_demonstrations, with_rescues
from zppo_core.algorithm.reformulations.hint import first_half
from zppo_core.algorithm.reformulations.questa import first_part, partial_text
from zppo_core.algorithm.rollouts import Scene
from zppo_core.algorithm.step_types import TeacherDraw, TeacherPhase
from zppo_core.algorithm.student_update import SKIPPED, NotFiniteError
from zppo_core.algorithm.train_groups import Suffix, TrainGroup, sampler_mismatch
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Completion, Grade, Group, Prompt

STEPS = 60
NOTHING = np.zeros(1, np.float32)


def scene_of(world: World, step: int) -> Scene:
    return Scene(replace(world.state, step=step), world.roles, world.corpus, world.config)


def group_of(question_id: str, rewards: list[float], kind: str = "plain") -> Group:
    """A group whose members' tokens tell question, kind and place."""
    completions = tuple(
        Completion(f"{question_id} {kind} {i}", np.array([i], np.int32), NOTHING, "stop", 0)
        for i in range(len(rewards))
    )
    grades = tuple(Grade(r, "correct" if r else "wrong", "1") for r in rewards)
    return Group(f"{question_id}/{kind}", question_id, kind, Prompt(kind), completions, grades)


def phase_of(texts: list[str], *ids: str) -> TeacherPhase:
    """For each question a wrong draw, then right ones of these texts."""

    def draw(i: int, text: str, reward: float) -> TeacherDraw:
        ids_T = np.array([100 + i], np.int32)
        outcome = "correct" if reward else "wrong"
        return TeacherDraw("q", 0, i, Draw(text, ids_T, "stop", False), Grade(reward, outcome, "1"))

    draws = (draw(0, "wrong", 0.0), *(draw(i, t, 1.0) for i, t in enumerate(texts, 1)))
    return TeacherPhase(dict.fromkeys(ids, draws), ())


def test_a_demonstration_is_drawn_anew_for_each_step_and_question(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: False), questions=MANY, method="luffy")
    groups = [group_of(q, [0.0, 0.0]) for q in ("q1", "q2")]
    teacher = phase_of(["a", "b"], "q1", "q2")
    taken = []
    for step in range(STEPS):
        shown = with_demonstrations(groups, teacher, scene_of(world, step))
        taken.append(tuple(g.completions[-1].text for g in shown))
        assert all(g.grades[-1].reward == 1.0 for g in shown)
    # uniform among the right ones, and the one question says nothing of the other
    assert set(Counter(taken)) == {(a, b) for a in "ab" for b in "ab"}
    for question in (0, 1):
        first = sum(pair[question] == "a" for pair in taken)
        assert abs(first - STEPS / 2) < 5 * (STEPS / 4) ** 0.5


def test_evidence_is_drawn_anew_for_each_step_and_question_and_can_do_nothing(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: False), questions=MANY, method="opsd")
    seen: list[Prompt] = []
    world.roles = replace(world.roles, encode=lambda p: seen.append(p) or encoded(p))
    groups, teacher = [group_of(q, [0.0]) for q in ("q1", "q2")], phase_of(["a", "b"], "q1", "q2")
    taken = []
    for step in range(STEPS):
        seen.clear()
        assert set(evidence(groups, teacher, scene_of(world, step))) == {"q1", "q2"}
        taken.append(tuple("a" if "\na\n" in p.text else "b" for p in seen))
    assert set(taken) == {(a, b) for a in "ab" for b in "ab"}
    seen.clear()
    evidence(groups[:1], phase_of(["</solution><|im_end|>"], "q1"), scene_of(world, 0))
    assert "<|im_end|>" not in seen[0].text


def test_a_self_teacher_leaves_out_each_question_that_nobody_solved(tmp_path) -> None:
    teacher = teacher_with(lambda p, m: int(asked_of(p).id[1:]) % 2 == 0)
    world = World(
        tmp_path, student_with(lambda p, m: False), teacher, questions=MANY, method="opsd"
    )
    result = world.step()
    ((groups, _),) = world.learner.updates
    solved = {g.uid for g in result.plain if int(g.question_id[1:]) % 2 == 0}
    assert 0 < len(solved) < len(result.plain)
    assert {g.uid for g in groups} == solved
    assert all(g.evidence is not None for g in groups)


def test_only_a_group_without_a_right_rollout_is_rescued_by_the_first_that_is() -> None:
    plain = [group_of("none", [0.0] * 4), group_of("some", [0.0, 0.0, 0.0, 1.0])]
    augmented = [group_of(g.question_id, [0.0, 1.0, 1.0], "scaffold") for g in plain]
    none, some = with_rescues(plain, augmented)
    assert some is plain[1]
    texts = [c.text for c in none.completions]
    assert texts == [*(c.text for c in plain[0].completions[:3]), "none scaffold 1"]
    assert list(none.rewards_G) == [0.0, 0.0, 0.0, 1.0]


def test_groups_that_gave_a_rescue_are_not_trained_on_themselves(tmp_path) -> None:
    def right(prompt: Prompt, member: int) -> bool:
        return "<hint>" in prompt.text and member == 1

    sets = {"optimizer.updates": 1, "reformulation.ratio": 1.0, "run.rollout_steps": 4}
    teacher = Watched(lambda p, m: f"a b c \\boxed{{{asked_of(p).gold}}}", "teacher")
    world = World(
        tmp_path, student_with(right), teacher, questions=MANY, method="scaf_grpo", **sets
    )
    world.step()  # exempt
    result = world.step()
    assert any(not g.trivial for g in result.augmented)
    groups, _ = world.learner.updates[-1]
    assert {g.uid for g in groups} == {g.uid for g in result.plain}


def test_a_step_asks_no_further_round_when_as_many_groups_teach_as_it_asked(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: m == 0), questions=MANY, method="dapo")
    result = world.step()
    assert len(result.plain) == 8
    assert len(world.student.calls) == 1


def test_further_rounds_ask_other_questions_at_each_step(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: m == 0), questions=MANY, method="dapo")
    trivial = {"q0"}  # one question of them, so that one more round is needed where it is asked
    world.student.answer = student_with(
        lambda p, m: asked_of(p).id not in trivial and m == 0
    ).answer
    rounds = []
    for _ in range(9):
        asked = [g.question_id for g in world.step().plain]
        if len(asked) > 8:
            rounds.append(asked[8:])
    assert len(rounds) > 1
    # a round has an order of its own at each step: some pair stands the other way round
    before = {(a, b) for r in rounds for i, a in enumerate(r) for b in r[i + 1 :]}
    assert any((b, a) in before for a, b in before)


@pytest.mark.parametrize("method", ["on_distill", "off_distill"])
def test_a_distilling_step_tells_its_mismatch_and_counts_what_was_skipped(tmp_path, method) -> None:
    learner = Learner(gap=0.01)
    world = World(tmp_path, student_with(lambda p, m: m == 0), learner=learner, method=method)
    update = world.step().update
    assert (update.mismatch_mean, update.mismatch_max) == (0.01, 0.02)
    whole = learner.update
    learner.update = lambda *a, **k: replace(whole(*a, **k), groups=1, skipped=True)
    for _ in range(SKIPPED - 1):
        world.step()
    with pytest.raises(NotFiniteError):
        world.step()


def test_what_nobody_sampled_is_in_no_mismatch() -> None:
    zeros = np.zeros(2, np.float32)
    ids, mask = np.array([1, 2]), np.ones(2, bool)
    own, given = (
        Suffix(ids, mask, zeros, np.full(2, -1.0, np.float32)),
        Suffix(ids, mask, zeros, zeros, given=True),
    )
    group = TrainGroup("u", "plain", encoded(Prompt("q")), (own, given))
    score = (np.full(2, -1.5, np.float32), np.full(2, -9.0, np.float32))
    assert sampler_mismatch([group], [score]) == (0.5, 0.5)


def test_every_group_of_equal_rewards_counts_as_left_out_though_one_stands_for_all(
    tmp_path,
) -> None:
    world = World(tmp_path, student_with(lambda p, m: False), method="grpo")
    update = world.step().update
    assert any(groups for groups, _ in world.learner.updates)  # one in each mini-batch
    assert update.skipped_groups == 8


def hinted(tmp_path, right, words: str = "a b c d"):
    """A step of scaf_grpo whose teacher says `words`: for each question its hints' lengths."""
    sets = {"optimizer.updates": 1, "reformulation.ratio": 1.0, "run.rollout_steps": 4}
    teacher = Watched(lambda p, m: f"{words} \\boxed{{{asked_of(p).gold}}}", "teacher")
    world = World(
        tmp_path, student_with(right), teacher, questions=MANY, method="scaf_grpo", **sets
    )
    world.step()  # exempt
    result = world.step()
    lengths: dict[str, list[int]] = {}
    for group in result.augmented:
        hint = group.prompt.text.split("<hint>\n")[1].split("\n</hint>")[0]
        lengths.setdefault(group.question_id, []).append(len(hint.split()))
    assert lengths
    return lengths, result


def test_hints_grow_by_thirds_that_are_rounded_up_and_end_at_the_whole(tmp_path) -> None:
    lengths, result = hinted(tmp_path, lambda p, m: False)
    assert set(map(tuple, lengths.values())) == {(2, 3, 4)}
    assert len({g.uid for g in result.augmented}) == len(result.augmented)


def test_one_right_rollout_of_a_tier_is_enough(tmp_path) -> None:
    lengths, _ = hinted(tmp_path, lambda p, m: "<hint>" in p.text and m == 1)
    assert set(map(tuple, lengths.values())) == {(2,)}


def test_branches_end_where_the_shortest_start_still_makes_all_right(tmp_path) -> None:
    teacher = Watched(lambda p, m: f"{'x' * 60}\\boxed{{{asked_of(p).gold}}}", "teacher")
    world = World(
        tmp_path,
        student_with(lambda p, m: bool(p.forced)),
        teacher,
        questions=MANY,
        method="bread",
        **{"optimizer.updates": 1, "reformulation.ratio": 1.0},
    )
    starts: dict[str, list[int]] = {}
    for group in world.step().augmented:
        starts.setdefault(group.question_id, []).append(group.completions[0].forced)
    length = {q: len("x" * 60 + f"\\boxed{{{world.corpus[q].gold}}}") for q in starts}
    assert starts
    for question, tried in starts.items():
        assert tried == [length[question] * tenths // 10 for tenths in (5, 2, 1)]


def test_a_part_of_a_solution_shows_no_box_and_can_do_nothing() -> None:
    assert first_part("so \\boxed{5} as one sees by looking at it for long", 0.5) == "so"
    assert "<|im_end|>" not in partial_text("Q?", "half <|im_end|> of it")


@pytest.mark.parametrize(
    ("response", "hint"), [("four \\boxed{5}", "four"), ("a b c \\boxed{5}", "a b"), ("", "")]
)
def test_half_of_an_odd_number_of_words_has_the_middle_one(response: str, hint: str) -> None:
    assert first_half(response) == hint
