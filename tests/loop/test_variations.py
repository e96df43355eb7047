"""Settings that change a step, each seen by what it does."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_world import MANY, Learner, World, changing_student
from story import SETS, tell

from zppo_core.errors import UserError


def test_the_lazy_teacher_gives_the_same_prompts_and_weights_with_fewer_draws(
    story, tmp_path
) -> None:
    _, lazy = tell(tmp_path, 5, **{"teacher.scope": "augmented"})
    for mine, theirs in zip(lazy, story.steps, strict=False):
        assert mine.result.teacher.plan == theirs.result.teacher.plan
        drawn = mine.result.teacher.draws
        assert set(drawn) <= set(theirs.result.teacher.draws)
        assert {q for q, _ in mine.result.teacher.plan} <= set(drawn)
    assert sum(len(t.result.teacher.draws) for t in lazy) < sum(
        len(t.result.teacher.draws) for t in story.steps[:5]
    )


def test_with_one_update_nothing_is_scored_and_the_mismatch_is_the_updates(tmp_path) -> None:
    world = World(
        tmp_path,
        changing_student(),
        learner=Learner(gap=0.01),
        questions=MANY,
        **{**SETS, "optimizer.updates": 1},
    )
    result = world.step()
    assert world.learner.did == ["update"]
    assert (result.update.mismatch_mean, result.update.mismatch_max) == (0.01, 0.02)


def test_a_mismatch_is_refused_at_the_first_step_alone(tmp_path) -> None:
    world, _ = tell(tmp_path, 1)
    world.learner.gap = 0.5
    assert world.step().update.mismatch_mean > 0.4


def test_the_threshold_decides_what_is_hard_everywhere(tmp_path) -> None:
    world, steps = tell(tmp_path, 3, **{"replay.threshold": 0.25})
    for told in steps:
        zeros = [g.question_id for g in told.result.plain if np.mean(g.rewards_G) < 0.25]
        assert list(told.result.teacher.draws) == zeros
        admitted = {e.question_id for e in told.result.events if e.kind == "admit"}
        assert admitted <= set(zeros)
    assert len(world.state.buffer) > 0


def test_a_question_that_stays_hard_may_go_to_the_back(tmp_path) -> None:
    _, steps = tell(tmp_path, 6, **{"replay.refresh": "true"})
    stayed = 0
    for told in steps:
        stays = [e.question_id for e in told.result.events if e.kind == "stay"]
        order = [e.question_id for e in told.entries_after]
        untouched = [
            e.question_id
            for e in told.entries
            if e.question_id in order and e.question_id not in stays
        ]
        assert order[: len(untouched)] == untouched
        stayed += len(stays)
    assert stayed > 3


def test_one_token_far_off_does_not_stop_a_run_but_the_mean_does(tmp_path) -> None:
    class Spiked(Learner):
        """Right but for one token of each response."""

        def old_logp(self, group, member):
            off = np.zeros(len(group.suffixes[member].sampler_logp_T), np.float32)
            off[0] = self.gap
            return group.suffixes[member].sampler_logp_T + off

    for gap, stops in ((1.0, False), (10.0, True)):
        world = World(
            tmp_path / str(gap),
            changing_student(),
            learner=Spiked(gap=gap),
            questions=MANY,
            **{**SETS, "teacher.scope": "augmented"},
        )
        if stops:
            with pytest.raises(UserError, match="disagree"):
                world.step()
        else:
            assert world.step().update.mismatch_max == pytest.approx(1.0)


def test_an_engine_that_loses_a_prompt_is_an_error(tmp_path) -> None:
    for who in ("student", "teacher"):
        world = World(tmp_path / who, changing_student(), questions=MANY, **SETS)
        engine = getattr(world, who)
        whole = engine.generate
        engine.generate = lambda *arguments, whole=whole: whole(*arguments)[:-1]
        with pytest.raises(ValueError, match="shorter"):
            world.step()


def test_each_phase_tells_its_progress_by_its_own_name(tmp_path) -> None:
    world = World(tmp_path, changing_student(), questions=MANY, **SETS)
    told = []

    def progress(phase):
        return lambda done, total: told.append((phase, done, total))

    world.roles = replace(world.roles, progress=progress)
    result = world.step()
    new, hard, asks = len(result.plain), len(result.teacher.draws), len(result.asks)
    assert {(phase, total) for phase, _, total in told} == {
        ("plain", new),
        ("teacher", hard),
        ("augmented", asks),
    }
    assert [done for phase, done, _ in told if phase == "plain"] == list(range(1, new + 1))
