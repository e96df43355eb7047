"""Rivals of ZPPO on a scripted student: what each trains on, and what it asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scripted_world import MANY, Watched, World, asked_of, changing_student, encoded, student_with

from zppo_core.algorithm.streaming import any_right
from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.protocols import Sampling


def told(folder, method: str, steps: int = 2, **sets):
    """The world of a rival, and its steps."""
    world = World(folder, changing_student(), questions=MANY, method=method, **sets)
    return world, [world.step() for _ in range(steps)]


def test_gspo_means_over_responses_and_the_divisor_stays_the_tokens(tmp_path) -> None:
    world, results = told(tmp_path, "gspo", 1, **{"optimizer.updates": 1})
    ((groups, tokens),) = world.learner.updates
    plain = results[0].plain
    lengths = [len(c.token_ids_T) for g in plain for c in g.completions]
    assert tokens == sum(lengths)
    assert len(set(lengths)) > 1
    of_uid = results[0].update.advantages
    for group in groups:
        for suffix, advantage in zip(group.suffixes, of_uid[group.uid], strict=True):
            share = suffix.weights_T.sum() / tokens  # of the whole mini-batch's loss
            assert share == pytest.approx(advantage / len(lengths), rel=1e-5, abs=1e-9)
            assert len(set(suffix.weights_T.tolist())) == 1


def test_a_mini_batch_without_groups_has_no_mean(tmp_path) -> None:
    world, _ = told(tmp_path, "gspo", 1, **{"optimizer.updates": 12, "rollout.new_prompts": 8})
    assert len(world.learner.updates) == 12


def test_cispo_and_grpo_train_on_the_same_groups(tmp_path) -> None:
    ours, _ = told(tmp_path / "a", "cispo")
    theirs, _ = told(tmp_path / "b", "grpo", **{"advantage.norm": "grpo"})
    for (mine, n), (other, m) in zip(ours.learner.updates, theirs.learner.updates, strict=True):
        assert n == m
        assert [g.uid for g in mine] == [g.uid for g in other]
        for a, b in zip(mine, other, strict=True):
            for s, t in zip(a.suffixes, b.suffixes, strict=True):
                assert np.array_equal(s.weights_T, t.weights_T)


def test_dapo_asks_until_enough_groups_teach_and_trains_on_them_alone(tmp_path) -> None:
    world, results = told(tmp_path, "dapo", 4, **{"optimizer.updates": 1})
    rounds = []
    for result, (groups, tokens) in zip(results, world.learner.updates, strict=True):
        lively = [g for g in result.plain if not g.trivial]
        asked = [g.question_id for g in result.plain]
        assert len(set(asked)) == len(asked)
        assert [g.kind for g in result.plain[:8]] == ["plain"] * 8
        assert {g.kind for g in result.plain[8:]} <= {"resampled"}
        # it stopped in the round that brought enough, or when nothing more was there to ask
        before = sum(not g.trivial for g in result.plain[:-8])
        assert before < 8 <= len(lively)
        assert {g.uid for g in groups} == {g.uid for g in lively[:8]}
        assert tokens == sum(len(c.token_ids_T) for g in lively[:8] for c in g.completions)
        rounds.append(len(result.plain))
    assert max(rounds) > 8


def test_dapo_stops_after_its_rounds_and_resamples_the_same_questions_again(tmp_path) -> None:
    def wrong(folder):
        world = World(folder, student_with(lambda p, m: False), questions=MANY, method="dapo")
        return world, world.step()

    (world, result), (_, again) = wrong(tmp_path / "a"), wrong(tmp_path / "b")
    asked = [g.question_id for g in result.plain]
    assert asked == [g.question_id for g in again.plain]
    assert len(world.student.calls) <= 10
    assert len(asked) > 16
    assert all(not groups for groups, _ in world.learner.updates)  # nothing to learn from


def test_the_first_round_of_dapo_is_what_grpo_asks(tmp_path) -> None:
    ours, _ = told(tmp_path / "a", "dapo", 1)
    theirs, _ = told(tmp_path / "b", "grpo", 1)
    assert ours.student.calls[0] == theirs.student.calls[0]


def test_luffy_has_a_right_teacher_response_for_a_groups_last_rollout(tmp_path) -> None:
    world, results = told(tmp_path, "luffy", 2, **{"optimizer.updates": 1})
    shown = 0
    for result, (groups, tokens) in zip(results, world.learner.updates, strict=True):
        plain = {g.uid: g for g in result.plain}
        assert set(result.teacher.draws) == {g.question_id for g in result.plain}
        for uid, own in plain.items():
            draws = result.teacher.draws[own.question_id]
            right = [d.draw.token_ids_T for d in draws if d.grade.reward == 1.0]
            rewards = own.rewards_G.copy()
            group = next((g for g in groups if g.uid == uid), None)
            if right:
                rewards[-1] = 1.0
                assert result.update.advantages[uid][-1] == 0.0  # the rollout that was left out
            expected = rewards - rewards.mean()
            if group is None:
                assert len(set(rewards)) == 1
            else:
                found = [s.weights_T[0] for s in group.suffixes]
                assert found == pytest.approx(expected, abs=1e-6)
                assert [s.given for s in group.suffixes] == [False] * 3 + [bool(right)]
                for suffix, completion in zip(group.suffixes, own.completions, strict=True):
                    if suffix.given:
                        assert any(np.array_equal(suffix.token_ids_T, r) for r in right)
                        assert suffix.mask_T.all()
                    else:
                        assert np.array_equal(suffix.token_ids_T, completion.token_ids_T)
                shown += bool(right)
        assert tokens >= sum(g.tokens for g in groups)
        assert len(groups) > 1
    assert shown > 4


def test_a_demonstration_is_no_mismatch_of_sampler_and_trainer(tmp_path) -> None:
    world, results = told(tmp_path, "luffy", 1)  # two updates: log-probabilities are scored
    given = [
        s for groups, _ in world.learner.updates for g in groups for s in g.suffixes if s.given
    ]
    assert given
    assert all(not s.sampler_logp_T.any() for s in given)
    assert results[0].update.mismatch_max < 0.01


def test_questa_shows_half_of_a_right_solution_then_a_quarter(tmp_path) -> None:
    _, results = told(tmp_path, "questa", 4, **{"run.rollout_steps": 4})
    for result, share in zip(results, (0.5, 0.5, 0.25, 0.25), strict=True):
        assert result.asks
        hard = {g.question_id for g in result.plain if g.accuracy < 0.5}
        assert {a.question_id for a in result.asks} <= hard
        for ask in result.asks:
            draws = result.teacher.draws[ask.question_id]
            right = [d.draw.text for d in draws if d.grade.reward == 1.0]
            (shown,) = re.findall(r"<solution>\n(.*?)\n</solution>", ask.prompt.text, re.DOTALL)
            assert shown in {t[: int(share * len(t))].strip() for t in right}
            assert "boxed" not in shown
    # the shares follow from the step alone: a resumed step asks the same
    again = World(
        tmp_path / "b",
        changing_student(),
        questions=MANY,
        method="questa",
        **{"run.rollout_steps": 4},
    )
    again.state.step = 3
    again.student.load_weights({}, 3)
    texts = [len(a.prompt.text) for a in again.step().asks]
    assert max(texts) <= max(len(a.prompt.text) for a in results[3].asks)


def test_a_method_that_anneals_must_know_how_long_the_run_is() -> None:
    with pytest.raises(UserError, match="questa changes its prompts over the run"):
        load("nano", ["run.method=questa", "run.rollout_steps=0"])


def rescued_from(share: Callable[[str], float]):
    """A student that is wrong until it is given a share of the teacher's response, its own for each
    question; then its first two members are right, and from 0.3 more on all are."""

    def right(prompt, member: int) -> bool:
        given = len(prompt.forced) / len(TRACE)
        wanted = share(asked_of(prompt).id)
        return given >= wanted + 0.3 or (given >= wanted and member < 2)

    return student_with(right)


TRACE = "a right response whose tokens are counted: forty"
SHARES = {f"q{i}": (i % 6) / 5 for i in range(24)}  # 0.0 to 1.0


def one_trace():
    """A teacher whose every response to a question is right and as long as any other."""
    answer = lambda p, m: f"{TRACE[: -len(asked_of(p).gold) - 8]}\\boxed{{{asked_of(p).gold}}}"  # noqa: E731
    return Watched(answer, "teacher")


def test_bread_finds_a_start_that_rescues_by_halving(tmp_path) -> None:
    world = World(
        tmp_path,
        rescued_from(SHARES.get),
        one_trace(),
        questions=MANY,
        method="bread",
        **{"optimizer.updates": 1, "reformulation.ratio": 1.0},
    )
    result = world.step()
    hard = [g for g in result.plain if g.accuracy == 0.0]
    tried: dict[str, list] = {}
    for group in result.augmented:
        tried.setdefault(group.question_id, []).append(group)
    assert set(tried) == {g.question_id for g in hard}
    assert len({g.uid for g in result.augmented}) == len(result.augmented)
    length = len(
        world.teacher.generate([result.plain[0].prompt], Sampling(99), [0])[0][0].token_ids_T
    )
    for question_id, groups in tried.items():
        # the search by hand, on tenths of the response
        low, high, expected = 0, 10, []
        while True:
            middle = (low + high) // 2
            if middle == low:
                break
            expected.append(length * middle // 10)
            given = expected[-1] / len(TRACE)
            wanted = SHARES[question_id]
            if given < wanted:
                low = middle
            elif given >= wanted + 0.3:
                high = middle
            else:
                break
        assert [len(g.prompt.forced) for g in groups] == expected
        assert all(g.trivial for g in groups[:-1])
    assert len({len(groups) for groups in tried.values()}) > 1
    # what is trained on: groups that are not trivial, and the given tokens carry no gradient
    ((trained, _),) = world.learner.updates
    lively = {g.uid: g for g in (*result.plain, *result.augmented) if not g.trivial}
    assert {g.uid for g in trained} == set(lively)
    for group in trained:
        for suffix in group.suffixes:
            forced = len(lively[group.uid].prompt.forced)
            assert not suffix.mask_T[:forced].any()
            assert suffix.mask_T[forced:].all()


def test_scaf_grpo_asks_with_more_of_a_hint_until_one_rollout_is_right(tmp_path) -> None:
    tiers = {f"q{i}": i % 4 for i in range(24)}  # 0: right by itself; 3: only with the whole hint

    def right(prompt, member: int) -> bool:
        hint = re.findall(r"<hint>\n(.*?)\n</hint>", prompt.text, re.DOTALL)
        words = len(hint[0].split()) if hint else 0
        return words >= 2 * tiers[asked_of(prompt).id] and (member > 1 or words > 0)

    teacher = Watched(lambda p, m: f"a b c d e f \\boxed{{{asked_of(p).gold}}}", "teacher")
    sets = {"optimizer.updates": 1, "reformulation.ratio": 1.0, "run.rollout_steps": 10}
    world = World(
        tmp_path, student_with(right), teacher, questions=MANY, method="scaf_grpo", **sets
    )
    first, second = world.step(), world.step()
    assert not first.asks  # the first 15 % of the steps are exempt: steps 0 and 1 of 10
    assert not second.asks
    result = world.step()
    wrong = [g.question_id for g in result.plain if g.accuracy == 0.0]
    assert {a.question_id for a in result.asks} == set(wrong) != set()
    asked: dict[str, list[int]] = {}
    for group in result.augmented:
        hint = re.findall(r"<hint>\n(.*?)\n</hint>", group.prompt.text, re.DOTALL)[0]
        asked.setdefault(group.question_id, []).append(len(hint.split()))
    assert asked == {q: [2 * k for k in range(1, max(tiers[q], 1) + 1)] for q in wrong}
    # one hinted rollout in the place of the last wrong one, on the prompt it was sampled on
    trained, _ = world.learner.updates[-1]
    of_uid: dict[str, list] = {}
    for group in trained:
        of_uid.setdefault(group.uid, []).append(group)
    assert not any("scaffold" in uid for uid in of_uid)
    for group in result.plain:
        if group.question_id not in wrong:
            continue
        plain, other = of_uid[group.uid]
        rescued = [g for g in result.augmented if g.question_id == group.question_id][-1]
        (suffix,) = other.suffixes
        member = int(np.argmax(rescued.rewards_G))
        assert np.array_equal(suffix.token_ids_T, rescued.completions[member].token_ids_T)
        assert np.array_equal(other.prompt.input_ids_P, encoded(rescued.prompt).input_ids_P)
        assert len(plain.suffixes) == 3
        weights = [s.weights_T[0] for s in (*plain.suffixes, suffix)]
        rewards = np.array([0.0, 0.0, 0.0, 1.0])
        assert weights == pytest.approx((rewards - 0.25) / (rewards.std() + 1e-6), rel=1e-5)
        assert result.update.advantages[group.uid][-1] == 0.0


def test_opsd_learns_from_own_responses_after_a_prompt_that_shows_a_right_one(tmp_path) -> None:
    world, results = told(tmp_path, "opsd", 2)
    assert {p.text for p in world.student.prompts} == {
        world.closed(g.question_id) for r in results for g in r.plain
    }
    for result, (groups, _) in zip(results, world.learner.updates, strict=True):
        plain = {g.uid: g for g in result.plain}
        shown = {q for q, draws in result.teacher.draws.items() if any_right(draws)}
        assert {plain[g.uid].question_id for g in groups} == shown
        assert 0 < result.update.skipped_groups == len(plain) - len(groups) or len(shown) == 8
        for group in groups:
            own, draws = plain[group.uid], result.teacher.draws[plain[group.uid].question_id]
            assert len(group.suffixes) == len(own.completions)
            texts = [
                Templates().render(
                    "evidence",
                    question=world.corpus[own.question_id].text,
                    solution=d.draw.text,
                    closer=world.templates.closer,
                )
                for d in draws
                if d.grade.reward == 1.0
            ]
            prompts = [encoded(replace(own.prompt, text=text)).input_ids_P for text in texts]
            assert any(np.array_equal(group.evidence.input_ids_P, p) for p in prompts)
            assert np.array_equal(group.prompt.input_ids_P, encoded(own.prompt).input_ids_P)


def test_opsd_is_refused_where_several_processes_update() -> None:
    with pytest.raises(UserError, match=r"opsd updates in one process.*update_processes=1"):
        load("4B@eight-gpus", ["run.method=opsd"])
