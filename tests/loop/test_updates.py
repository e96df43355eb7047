"""Advantages, mini-batches, old log-probabilities, the buffer (section 2, 6, and sections 3, 4)."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from scripted_world import MANY, World, encoded, student_with
from story import CAPACITY, STEPS, TAU, UPDATES, active, reached, standardised, tell, tokens_of

from zppo_core.algorithm.replay_buffer import Entry
from zppo_core.algorithm.student_update import NotFiniteError


def test_advantages_are_those_of_the_whole_rollout_batch(story) -> None:
    for told in story.steps:
        expected = standardised(told.groups)
        found = told.result.update.advantages
        assert set(found) == set(expected)
        for uid, values in expected.items():
            np.testing.assert_allclose(found[uid], values, atol=1e-9)
        trained = {g.uid: g for g in reached(told)}
        for group in active(told.groups):
            for value, suffix in zip(expected[group.uid], trained[group.uid].suffixes, strict=True):
                np.testing.assert_allclose(suffix.weights_T, value, rtol=1e-5)
    uids = [g.uid for t in story.steps for g in t.groups]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("norm", ["nonzero", "all", "none", "grpo"])
@pytest.mark.parametrize("scope", ["rollout", "minibatch"])
def test_norm_eps_and_scope_are_the_configurations(tmp_path, norm: str, scope: str) -> None:
    _, steps = tell(
        tmp_path, 2, **{"advantage.norm": norm, "advantage.eps": 0.25, "advantage.scope": scope}
    )
    for told in steps:
        rewards = {g.uid: g for g in told.groups}
        if scope == "rollout":
            scopes = [told.groups]
        elif norm == "all":  # trivial groups of a mini-batch count: its parts follow from uids
            continue
        else:
            scopes = [[rewards[g.uid] for g in part] for part, _ in told.updates]
        expected = {k: v for s in scopes for k, v in standardised(s, norm, 0.25).items()}
        for group in reached(told):
            for value, suffix in zip(expected[group.uid], group.suffixes, strict=True):
                np.testing.assert_allclose(suffix.weights_T, value, rtol=1e-5, atol=1e-7)


def test_the_trainer_gets_what_was_sampled_and_nothing_else(story) -> None:
    for told in story.steps:
        groups = {g.uid: g for g in told.groups}
        for given in reached(told):
            own = groups[given.uid]
            assert given.kind == own.kind
            np.testing.assert_array_equal(given.prompt.input_ids_P, encoded(own.prompt).input_ids_P)
            for suffix, completion in zip(given.suffixes, own.completions, strict=True):
                np.testing.assert_array_equal(suffix.token_ids_T, completion.token_ids_T)
                np.testing.assert_array_equal(suffix.sampler_logp_T, completion.logp_T)
                assert suffix.mask_T.all()
                assert bytes(suffix.token_ids_T.astype(np.uint8)).startswith(b"student thinks")


def test_old_log_probabilities_are_the_trainers_before_its_first_update(story) -> None:
    learner = story.world.learner
    for told in story.steps:
        assert told.did == ["score"] + ["update"] * UPDATES
        (scored,) = told.scored
        assert {g.uid for g in scored} == {g.uid for g in reached(told)}
        assert len(scored) == len(reached(told))
        for group in reached(told):
            for i, suffix in enumerate(group.suffixes):
                assert suffix.old_logp_T is not None
                np.testing.assert_allclose(suffix.old_logp_T, learner.old_logp(group, i))
                assert np.abs(suffix.old_logp_T - suffix.sampler_logp_T).max() > 1e-3


def test_the_mismatch_is_that_of_sampler_and_trainer(story) -> None:
    learner = story.world.learner
    for told in story.steps:
        gaps = np.concatenate(
            [
                np.abs(learner.old_logp(g, i) - s.sampler_logp_T)
                for g in reached(told)
                for i, s in enumerate(g.suffixes)
            ]
        )
        assert told.result.update.mismatch_mean == pytest.approx(gaps.mean(), rel=1e-4)
        assert told.result.update.mismatch_max == pytest.approx(gaps.max(), rel=1e-4)


def test_each_group_is_in_one_mini_batch_and_trivial_ones_count_in_its_divisor(story) -> None:
    for told in story.steps:
        assert len(told.updates) == UPDATES
        groups = {g.uid: g for g in told.groups}
        seen = [g.uid for g in reached(told)]
        assert len(set(seen)) == len(seen)
        still = [uid for uid in seen if len(set(groups[uid].rewards_G)) == 1]
        assert {g.uid for g in active(told.groups)} == set(seen) - set(still)
        assert sum(tokens for _, tokens in told.updates) == sum(map(tokens_of, told.groups))
        size = -(-len(groups) // UPDATES)
        for part, tokens in told.updates:
            own = sum(tokens_of(groups[g.uid]) for g in part)
            assert own <= tokens
            assert len(part) <= size
        trivial = len(groups) - len(active(told.groups))
        assert trivial > 0


def test_mini_batches_are_shuffled_anew_each_step_by_the_seed(story, tmp_path) -> None:
    def shape(told):
        """Where each group of the step's order went."""
        where = {g.uid: i for i, (part, _) in enumerate(told.updates) for g in part}
        return [where.get(g.uid) for g in told.groups]

    shapes = [shape(t) for t in story.steps]
    for places in shapes:
        known = [p for p in places if p is not None]
        assert known != sorted(known)
    again = tell(tmp_path / "same", 2)[1]
    assert [shape(t) for t in again] == shapes[:2]
    # the same groups in another order with another seed: the first step's questions are the same
    other = tell(tmp_path / "other", 2, **{"run.seed": 6})[1]
    assert [shape(t) for t in other] != shapes[:2]


def test_the_same_groups_are_dealt_out_otherwise_at_another_step_or_seed(tmp_path) -> None:
    """No group is trivial, and nothing else depends on the seed: eight groups in four parts."""
    dealt = {}
    for seed in (0, 1):
        world = World(
            tmp_path,
            student_with(lambda prompt, member: member % 2 == 0),
            questions=MANY,
            method="grpo",
            **{"run.seed": seed, "optimizer.updates": 4},
        )
        for step in range(3):
            world.learner.updates.clear()
            groups = world.step().plain
            parts = [[g.uid for g in part] for part, _ in world.learner.updates]
            assert [len(part) for part in parts] == [2] * 4
            dealt[seed, step] = [[g.uid for g in groups].index(uid) for p in parts for uid in p]
    assert all(sorted(places) == list(range(8)) for places in dealt.values())
    assert len({tuple(places) for places in dealt.values()}) == 6


def test_one_group_stands_for_a_mini_batch_in_which_all_are_trivial(tmp_path) -> None:
    """The one with fewest sampled tokens: it costs least, and its gradient is zero."""
    world = World(
        tmp_path,
        student_with(lambda prompt, member: len(prompt.text) % 2 == 0),
        questions=MANY,
        method="grpo",
        **{"optimizer.updates": 2},
    )
    groups = world.step().plain
    sizes = {g.uid: tokens_of(g) for g in groups}
    seen = []
    for part, tokens in world.learner.updates:
        (alone,) = part
        assert not any(s.weights_T.any() for s in alone.suffixes)
        seen.append(sizes[alone.uid])
        assert tokens >= 4 * sizes[alone.uid]
    assert min(sizes.values()) in seen


def test_kinds_are_mixed_in_the_mini_batches(story) -> None:
    mixed = [
        {g.kind for g in part} & {"bcq", "ncq"} and {g.kind for g in part} & {"plain", "replay"}
        for t in story.steps
        for part, _ in t.updates
    ]
    assert sum(map(bool, mixed)) > len(mixed) / 2


def test_the_buffer_is_what_the_plain_rollouts_make_of_it(story) -> None:
    held: list[Entry] = []
    for told in story.steps:
        assert list(told.entries) == held
        events = []
        for group in told.result.plain:
            question, accuracy = group.question_id, float(np.mean(group.rewards_G))
            known = next((e for e in held if e.question_id == question), None)
            if known is not None:
                moved = Entry(question, known.entry_accuracy, known.entry_step, known.visits + 1)
                held[held.index(known)] = moved
            if accuracy < TAU and known is None:
                held.append(Entry(question, accuracy, told.step))
                events.append(("admit", question, accuracy, held[-1]))
            elif accuracy < TAU:
                events.append(("stay", question, accuracy, moved))
            elif known is not None:
                held.remove(moved)
                events.append(("graduate", question, accuracy, moved))
        today = {g.question_id: float(np.mean(g.rewards_G)) for g in told.result.plain}
        while len(held) > CAPACITY:
            oldest = held.pop(0)
            last = today.get(oldest.question_id, float("nan"))
            events.append(("evict", oldest.question_id, last, oldest))
        assert list(told.entries_after) == held
        assert told.result.buffer_size == len(held)
        found = [
            (
                e.kind,
                e.question_id,
                e.accuracy,
                Entry(e.question_id, e.entry_accuracy, e.entry_step, e.visits),
            )
            for e in told.result.events
        ]
        assert repr(found) == repr(events)  # NaN equals itself so
        assert {e.step for e in told.result.events} <= {told.step}
    admitted = {e.entry_accuracy for e in story.world.state.buffer.entries()}
    assert len(admitted) > 1
    assert max(e.visits for t in story.steps for e in t.entries_after) > 1


def test_the_buffer_stores_no_response(story) -> None:
    text = repr(story.world.state.state_dict())
    for word in ("student", "SENTINEL", "short", "boxed", "What is"):
        assert word not in text


def test_steps_are_numbered_and_so_is_what_is_in_them(story) -> None:
    for i, told in enumerate(story.steps):
        assert told.step == told.result.step == i
        for group in told.groups:
            assert group.uid == f"{i:06d}/{group.question_id}/{group.kind}"
    assert story.world.state.step == STEPS


def test_mini_batches_without_a_finite_gradient_end_the_run_at_the_third(tmp_path) -> None:
    world, _ = tell(tmp_path, 1)
    state = world.state
    update = world.learner.update
    world.learner.update = lambda groups, tokens: replace(update(groups, tokens), skipped=True)
    with pytest.raises(NotFiniteError, match="in 3 mini-batches in a row"):
        world.step()  # of three mini-batches
    assert state.skipped == 3
    again = replace(state, skipped=0, buffer=copy.deepcopy(state.buffer))
    again.load_state_dict(state.state_dict())
    assert again.skipped == 3
