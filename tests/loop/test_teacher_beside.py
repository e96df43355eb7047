"""The layout eight-nodes: the teacher draws for all of X_hard while the student samples."""

import threading

from scripted_world import World, some_right, student_with, teacher_with

from zppo_core.config import load
from zppo_core.engines.scripted import ScriptedEngine


def test_the_teacher_draws_for_every_hard_question_and_beside_the_student(tmp_path) -> None:
    paper = load("4B@eight-nodes")
    drawing, sampling = threading.Event(), []
    usual = student_with(some_right)

    class Student(ScriptedEngine):
        def generate(self, prompts, *rest):
            sampling.append(len(prompts))
            if len(sampling) == 8:  # those before it are graded meanwhile, and drawn for
                assert drawing.wait(20)
            return super().generate(prompts, *rest)

    right = teacher_with(lambda p, m: True)

    class Teacher(ScriptedEngine):
        def generate(self, prompts, *rest):
            drawing.set()
            return super().generate(prompts, *rest)

    world = World(
        tmp_path,
        Student(usual.answer, "student", joins=True),
        Teacher(right.answer, "teacher", joins=True),
        **{"teacher.scope": paper.teacher.scope},
    )
    result = world.step()
    hard = {g.question_id for g in result.plain if g.accuracy < world.config.replay.threshold}
    assert len(result.plain) > len(hard) > len({q for q, _ in result.teacher.plan})
    assert set(result.teacher.draws) == hard
