import json
from dataclasses import replace

import numpy as np
import pytest
from scripted_world import (
    QUESTIONS,
    Learner,
    World,
    asked_of,
    some_right,
    student_with,
    teacher_with,
)

from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.algorithm.rollout_step import StaleWeightsError
from zppo_core.algorithm.step_types import RolloutState
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.types import Prompt


def test_hard_questions_are_reformulated_hardest_first_under_the_cap(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    result = world.step()
    accuracy = {g.question_id: g.accuracy for g in result.plain}
    assert len(result.plain) == 8
    kinds = [a.kind for a in result.asks]
    assert len(kinds) == 4 == int(0.5 * 8)  # BCQ and NCQ instances count together
    assert kinds == ["bcq", "ncq", "bcq", "ncq"]
    chosen = [accuracy[a.question_id] for a in result.asks]
    assert chosen == sorted(chosen)
    assert set(accuracy.values()) == {0.0, 0.25, 0.5, 0.75}
    assert chosen[0] == 0.0


def test_a_question_without_a_right_teacher_gets_no_bcq(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right), teacher_with(lambda p, m: False))
    assert {a.kind for a in world.step().asks} == {"ncq"}


def test_prompts_hold_the_candidates_and_nothing_of_who_wrote_them(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    result = world.step()
    for ask in result.asks:
        gold = world.corpus[ask.question_id].gold
        blocks = ask.prompt.text.count("</candidate>")
        assert blocks == len(ask.negatives) + (ask.positive is not None)
        if ask.kind == "bcq":
            assert rf"\boxed{{{gold}}}" in ask.prompt.text
            assert blocks == 2
        else:
            assert rf"\boxed{{{gold}}}" not in ask.prompt.text  # the teacher's answer never shows
            wrong = 4 - int(
                4 * next(g.accuracy for g in result.plain if g.question_id == ask.question_id)
            )
            assert len(ask.negatives) == wrong  # all wrong rollouts
        for word in ("teacher", "student", "correct answer is"):
            assert word not in ask.prompt.text.lower().replace("student thinks", "")


def test_teacher_text_reaches_prompts_alone(tmp_path) -> None:
    """The sentinel that the teacher writes is in prompts (uncompressed) and in no suffix."""
    world = World(tmp_path, student_with(some_right), **{"reformulation.compression": "extract"})
    world.roles = replace(world.roles, compressor=replace(world.roles.compressor, engine=None))
    result = world.step()
    assert any("SENTINEL" in a.prompt.text for a in result.asks)
    trained = [
        bytes(s.token_ids_T.astype(np.uint8)).decode()
        for groups, _ in world.learner.updates
        for g in groups
        for s in g.suffixes
    ]
    assert trained
    assert all(text.startswith("student thinks") for text in trained)


def test_groups_of_one_question_have_their_own_baselines(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    result = world.step()
    groups = [*result.plain, *result.augmented]
    assert len({g.uid for g in groups}) == len(groups)
    for g in groups:
        assert result.update.advantages[g.uid].sum() == pytest.approx(0, abs=1e-6)


def test_trivial_groups_cost_no_pass_but_count_in_the_mean(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: asked_of(p).id != "q1" or m == 0))
    result = world.step()
    groups = [*result.plain, *result.augmented]
    active = [g for g in groups if not g.trivial]
    reached = [g.uid for parts, _ in world.learner.updates for g in parts]
    assert sorted(reached) == sorted(g.uid for g in active)
    assert result.update.skipped_groups == len(groups) - len(active) > 0
    tokens = sum(len(c.token_ids_T) for g in groups for c in g.completions)
    assert sum(t for _, t in world.learner.updates) == tokens


def test_a_mini_batch_of_trivial_groups_has_its_step_too(tmp_path) -> None:
    world = World(
        tmp_path,
        student_with(lambda p, m: m > 0 or asked_of(p).id != "q1"),
        **{"optimizer.updates": 8},
    )
    result = world.step()
    sizes = [len(groups) for groups, _ in world.learner.updates]
    assert sizes == [1] * 8
    still = [
        g
        for groups, _ in world.learner.updates
        for g in groups
        if not any(s.weights_T.any() for s in g.suffixes)
    ]
    assert len(still) == 8 - sum(not g.trivial for g in result.plain)
    assert len(still) >= 7  # with no gradient: decay and momentum alone
    tokens = [len(c.token_ids_T) for g in result.plain for c in g.completions]
    assert sum(t for _, t in world.learner.updates) == sum(tokens)


def test_every_group_is_in_one_of_equal_mini_batches(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: m % 2 == 0), **{"optimizer.updates": 4})
    result = world.step()
    sizes = [len(groups) for groups, _ in world.learner.updates]
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(result.plain) + len(result.augmented)
    assert world.learner.scored == 1


def test_one_update_needs_no_pass_for_old_log_probabilities(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right), **{"optimizer.updates": 1})
    world.step()
    assert world.learner.scored == 0
    suffixes = [s for groups, _ in world.learner.updates for g in groups for s in g.suffixes]
    assert all(s.old_logp_T is None for s in suffixes)


@pytest.mark.parametrize("updates", [1, 4])
def test_a_trainer_that_disagrees_with_the_sampler_stops_the_run(tmp_path, updates) -> None:
    world = World(
        tmp_path,
        student_with(some_right),
        learner=Learner(gap=0.5),
        **{"optimizer.updates": updates},
    )
    with pytest.raises(UserError, match=r"disagree by 0\.5"):
        world.step()


def test_the_buffer_is_moved_by_plain_rollouts_alone(tmp_path) -> None:
    """The student is right on every reformulated prompt, and the questions stay hard."""

    def right(prompt: Prompt, member: int) -> bool:
        return "<candidate>" in prompt.text

    world = World(tmp_path, student_with(right), **{"replay.ratio": 0.25})
    first = world.step()
    assert all(g.accuracy == 1.0 for g in first.augmented)
    assert len(world.state.buffer) == 8
    assert {e.kind for e in first.events} == {"admit"}
    second = world.step()
    replayed = [g for g in second.plain if g.kind == "replay"]
    new = {g.question_id for g in second.plain if g.kind == "plain"}
    assert 0 < len(replayed) <= 2
    assert not {g.question_id for g in replayed} & new


def test_a_replayed_question_that_is_solved_graduates(tmp_path) -> None:
    solved: set[str] = set()

    def right(prompt: Prompt, member: int) -> bool:
        return asked_of(prompt).id in solved

    world = World(tmp_path, student_with(right), **{"replay.ratio": 0.5})
    world.step()
    solved |= {q.id for q in QUESTIONS}
    second = world.step()
    graduated = {e.question_id for e in second.events if e.kind == "graduate"}
    assert {g.question_id for g in second.plain if g.kind == "replay"} <= graduated
    assert not any(q in world.state.buffer for q in graduated)
    assert second.asks == ()


def test_candidates_are_fresh_on_every_visit(tmp_path) -> None:
    sets = {"rollout.new_prompts": 12, "teacher.scope": "hard"}
    world = World(tmp_path, student_with(lambda p, m: False), **sets)
    draws = [
        {d.draw.text for own in world.step().teacher.draws.values() for d in own} for _ in range(2)
    ]
    assert not draws[0] & draws[1]


def test_the_teacher_is_asked_only_where_it_can_matter(tmp_path) -> None:
    plans = {}
    for scope in ("augmented", "hard"):
        world = World(
            tmp_path / scope, student_with(lambda p, m: False), **{"teacher.scope": scope}
        )
        result = world.step()
        plans[scope] = (result.teacher.plan, len(result.teacher.draws))
    assert plans["augmented"][0] == plans["hard"][0]
    assert plans["augmented"][1] < plans["hard"][1] == 8


@pytest.mark.parametrize(("method", "replays"), [("grpo", False), ("grpo_replay", True)])
def test_plain_methods_ask_no_teacher(tmp_path, method: str, replays: bool) -> None:
    world = World(tmp_path, student_with(lambda p, m: False), method=method)
    world.step()
    second = world.step()
    assert world.teacher.asked == []
    assert second.asks == ()
    assert any(g.kind == "replay" for g in second.plain) is replays
    assert (len(world.state.buffer) > 0) is replays


def test_stale_weights_are_refused(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    world.step()
    world.student.load_weights({}, 0)
    with pytest.raises(StaleWeightsError, match="missed a weight sync"):
        world.step()


def test_phases_come_in_the_papers_order(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    world.step()
    assert world.phases == ["plain", "teacher", "reformulate", "augmented"]


def test_the_state_of_a_run_survives_json(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    world.step()
    text = json.dumps(world.state.state_dict(), sort_keys=True)
    other = RolloutState(PromptReplayBuffer(512, 0.5, False))
    other.load_state_dict(json.loads(text))
    assert json.dumps(other.state_dict(), sort_keys=True) == text
    assert other.step == 1
    assert len(other.buffer) == len(world.state.buffer) > 0
    assert sum(other.visits.values()) == 8


@pytest.mark.parametrize("wrong", ["boxed", "any"])
def test_which_wrong_rollouts_a_bcq_is_drawn_from_is_an_option(tmp_path, wrong) -> None:
    def student(prompt: Prompt, member: int) -> str:
        return r"\boxed{999}" if member == 3 else "I cannot tell"

    seen = set()
    for seed in range(6):
        sets = {"run.seed": seed, "reformulation.wrong": wrong}
        world = World(tmp_path / str(seed), ScriptedEngine(student, "student"), **sets)
        asks = [a for a in world.step().asks if a.kind == "bcq"]
        assert asks
        seen |= {a.negatives[0].answer for a in asks}
    assert seen == ({"999"} if wrong == "boxed" else {"999", None})


def test_a_rollout_that_is_cut_in_its_thought_has_no_answer_however_right(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: True), **{"student.thinking": True})
    generate = world.student.generate

    def cut(*arguments, **named):
        groups = generate(*arguments, **named)
        return [[replace(c, finish="length") for c in group] for group in groups]

    world.student.generate = cut  # type: ignore[method-assign]
    result = world.step()
    assert {g.outcome for group in result.plain for g in group.grades} == {"unfinished"}
    assert {n.answer for ask in result.asks for n in ask.negatives} == {None}
    assert all("student thinks; \\boxed" not in ask.prompt.text for ask in result.asks)


@pytest.mark.parametrize("thinking", [True, False])
def test_a_draw_is_read_as_the_teacher_was_asked_for_it(tmp_path, thinking: bool) -> None:
    """Cut in its thought it is not right; one that was asked for no thought may be."""
    sets = {"student.thinking": not thinking, "teacher.thinking": thinking, "teacher.scope": "hard"}
    world = World(tmp_path, student_with(lambda p, m: False), **sets)
    generate = world.teacher.generate

    def cut(*arguments, **named):
        groups = generate(*arguments, **named)
        return [tuple(replace(c, finish="length") for c in group) for group in groups]

    world.teacher.generate = cut  # type: ignore[method-assign]
    result = world.step()
    outcomes = {d.grade.outcome for draws in result.teacher.draws.values() for d in draws}
    assert outcomes == ({"unfinished"} if thinking else {"correct", "wrong"})
    assert ("bcq" in {a.kind for a in result.asks}) is not thinking
