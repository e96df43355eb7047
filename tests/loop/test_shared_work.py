"""What threads of a step share: a candidate that two prompts want, and teachers at work at once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from scripted_world import MANY, World, asked_of, student_with, teacher_with

from zppo_core.algorithm.reformulation import Chosen, Instance, PromptContext, PromptWriter
from zppo_core.algorithm.reformulations import find
from zppo_core.algorithm.rollouts import Scene, draw_teacher
from zppo_core.algorithm.streaming import Ahead
from zppo_core.config.methods import METHODS
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.processes.background import Background
from zppo_core.protocols import silent
from zppo_core.types import Group, Prompt


def test_who_waits_for_a_candidate_that_cannot_be_compressed_hears_of_it(tmp_path) -> None:
    world = World(tmp_path, student_with(lambda p, m: False))

    class Failing:
        engine = None

        def compress(self, responses, seed):
            if responses:
                raise RuntimeError("the teacher is gone")
            return []

    roles = replace(world.roles, compressor=Failing())
    writer = PromptWriter(PromptContext(roles, world.config, seed=0))
    ncq = find("ncq")
    one = Instance(world.corpus["q0"], ncq, Chosen(None, ("same",)), np.random.default_rng(0))
    faults: list[str] = []

    def write() -> None:
        try:
            writer.write([one])
        except RuntimeError as fault:
            faults.append(str(fault))

    for _ in range(2):  # the second finds the text begun by the first
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert faults == ["the teacher is gone"] * 2


class Counted(ScriptedEngine):
    """Knows how many of its kind were at work with it."""

    at_work, most, lock = 0, 0, threading.Lock()

    def generate(self, *arguments, **named):
        kind = type(self)
        with kind.lock:
            kind.at_work += 1
            kind.most = max(kind.most, kind.at_work)
        time.sleep(0.1)
        groups = super().generate(*arguments, **named)
        with kind.lock:
            kind.at_work -= 1
        return groups


@pytest.mark.parametrize(("joins", "most"), [((True, True), 2), ((True, False), 1)])
def test_teachers_are_at_work_together_only_if_all_take_requests_meanwhile(
    tmp_path, joins, most
) -> None:
    world = World(tmp_path, student_with(lambda p, m: False))

    class Teacher(Counted):
        pass

    answer = teacher_with(lambda p, m: True).answer
    teachers = tuple(Teacher(answer, str(i), joins=j) for i, j in enumerate(joins))
    roles = replace(world.roles, teachers=teachers)
    scene = Scene(world.state, roles, world.corpus, world.config)
    drawn = draw_teacher(["q0"], scene, silent)
    assert len(drawn["q0"]) == 6
    assert Teacher.most == most


def test_the_teacher_draws_for_a_replayed_question_while_the_student_samples(tmp_path) -> None:
    sampling, drawing = threading.Event(), threading.Event()
    replayed: set[str] = set()
    order: list[str] = []

    class Student(ScriptedEngine):
        def generate(self, prompts, *rest):
            order.append(asked_of(prompts[0]).id)
            if len(order) == 10:  # the last plain prompt, behind the first replayed one
                sampling.set()
                assert drawing.wait(20)
            return super().generate(prompts, *rest)

    class Teacher(ScriptedEngine):
        def generate(self, prompts, *rest):
            if "<response>" not in prompts[0].text and asked_of(prompts[0]).id in replayed:
                drawing.set()
                assert sampling.wait(20)
            return super().generate(prompts, *rest)

    world = World(
        tmp_path,
        Student(student_with(lambda p, m: False).answer, "student", joins=True),
        Teacher(teacher_with(lambda p, m: True).answer, "teacher", joins=True),
        **{"teacher.scope": "hard", "replay.ratio": 0.25},
    )
    world.roles = replace(world.roles, compressor=replace(world.roles.compressor, engine=None))
    new = set(world.corpus.new_ids(0, 8))
    replayed |= set(world.corpus.ids) - new
    world.state.buffer.update_all(dict.fromkeys(sorted(replayed), 0.0), 0)
    result = world.step()
    assert [g.kind for g in result.plain] == ["plain"] * 8 + ["replay"] * 2
    assert drawing.is_set()


@pytest.mark.parametrize("whose", ["teachers", "writer"])
def test_an_engine_of_one_batch_after_the_other_is_asked_for_all_at_once(tmp_path, whose) -> None:
    """Though another teacher, or the teacher beside the writer, takes requests meanwhile."""
    answer = teacher_with(lambda p, m: True).answer
    joining = ScriptedEngine(answer, "joining", joins=True)
    batches: list[int] = []

    class Batched(ScriptedEngine):
        def generate(self, prompts, *rest):
            batches.append(len(prompts))
            return super().generate(prompts, *rest)

    world = World(
        tmp_path,
        ScriptedEngine(student_with(lambda p, m: False).answer, "student", joins=True),
        joining,
        **{"teacher.scope": "hard"},
    )
    batched = Batched(answer, "batched")
    compressor = replace(world.roles.compressor, engine=batched if whose == "writer" else None)
    teachers = (joining, batched) if whose == "teachers" else (joining,)
    world.roles = replace(world.roles, teachers=teachers, compressor=compressor)
    result = world.step()
    assert len(result.asks) == 4
    assert len(batches) == 1
    assert batches[0] > 2


def test_a_fault_of_the_teacher_ends_the_students_sampling(tmp_path) -> None:
    asked: list[str] = []

    class Student(ScriptedEngine):
        def generate(self, prompts, *rest):
            asked.append(prompts[0].text)
            time.sleep(0.05)
            return super().generate(prompts, *rest)

    class Broken(ScriptedEngine):
        def generate(self, *arguments, **named):
            raise RuntimeError("no memory")

    world = World(
        tmp_path,
        Student(student_with(lambda p, m: False).answer, "student", joins=True),
        Broken(lambda p, m: "", "teacher", joins=True),
        questions=MANY,
        **{"teacher.scope": "hard", "rollout.new_prompts": 24},
    )
    with pytest.raises(RuntimeError, match="no memory"):
        world.step()
    assert len(asked) < 24


def test_kinds_of_one_question_draw_their_candidates_apart(tmp_path, monkeypatch) -> None:
    both = replace(METHODS["zppo"], reformulations=("hint", "prefix"))
    monkeypatch.setitem(METHODS, "zppo", both)
    world = World(
        tmp_path,
        student_with(lambda p, m: False),
        teacher_with(lambda p, m: True),
        questions=MANY,
        **{"teacher.scope": "hard"},
    )
    scene = Scene(world.state, world.roles, world.corpus, world.config)
    drawn = draw_teacher(world.corpus.ids, scene, silent)
    ahead = Ahead(scene, Background(), 48)
    group = lambda q: Group("u", q, "plain", Prompt("Q?"), (), ())  # noqa: E731
    taken = [
        tuple(ahead.instance(group(q), kind, drawn[q]).right.text for kind in ("hint", "prefix"))
        for q in world.corpus.ids
    ]
    same = sum(one == other for one, other in taken)
    assert 0 < same < len(taken)
