"""Records of what is rare: a lost answer, a retried summary, a distilling step, a failed model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scripted_world import MANY, World, changing_student
from test_records import SPENT, SYNC, context_of, rows_of

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.train_groups import NO_UPDATE
from zppo_core.records.codecs import AsksCodec, TeacherCodec
from zppo_core.records.phases import Clock
from zppo_core.records.step_tables import step_files


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path, changing_student(), questions=MANY, **{"teacher.scope": "hard"})


def test_a_candidate_that_lost_its_answer_is_told_with_both(world) -> None:
    ask = world.step().asks[0]
    lost = Compressed("only words", None, True, 2, source_answer="5", source_characters=9)
    rows = rows_of(
        AsksCodec(context_of(world, 0)).encode([replace(ask, negatives=(lost,))], SPENT),
        "teacher_draws",
    )
    assert (rows[-1]["answer"], rows[-1]["source_answer"]) == (None, "5")


def test_draws_come_back_in_the_type_that_the_trainer_takes(world) -> None:
    phase = world.step().teacher
    codec = TeacherCodec(context_of(world, 0))
    back = codec.decode(codec.encode(phase, SPENT))
    types = {d.draw.token_ids_T.dtype for own in back.draws.values() for d in own}
    assert types == {np.dtype(np.int32)}


def test_trivial_groups_of_a_step_are_counted_once_over_its_updates(world) -> None:
    result = world.step()
    assert result.update.skipped_groups > 0
    files = step_files(context_of(world, 0), result, 0.5, SPENT, SYNC)
    updates = rows_of(files, "updates")
    assert len(updates) > 1
    assert sum(u["skipped_groups"] for u in updates) == result.update.skipped_groups


def test_an_update_without_a_divisor_of_its_own_has_none(world) -> None:
    result = world.step()
    metrics = (replace(NO_UPDATE, divisor=0), replace(NO_UPDATE, divisor=7))
    update = replace(result.update, metrics=metrics)
    files = step_files(context_of(world, 0), replace(result, update=update), 0.5, SPENT, SYNC)
    assert [u["divisor"] for u in rows_of(files, "updates")] == [None, 7]


def test_a_model_that_failed_works_no_more(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("zppo_core.records.phases.time.perf_counter", lambda: now[0])
    clock = Clock()

    def fail() -> None:
        with clock.model("student"):
            now[0] = 2.0
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        fail()
    now[0] = 9.0
    assert (clock.now().model_seconds, clock.now().student_seconds) == (2.0, 2.0)
