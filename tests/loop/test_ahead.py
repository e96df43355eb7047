"""The teacher draws, judges and compresses beside student rollouts, with the same results."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from scripted_world import World, asked_of, some_right, student_with

from zppo_core.config import load
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.processes.background import BackgroundQueue, slices
from zppo_core.protocols import Sampling
from zppo_core.records.phases import Clock
from zppo_core.run.session import Session as RealWorld
from zppo_core.run.session import TimedEngine
from zppo_core.types import Prompt

HARD = {"teacher.scope": "hard"}


def teacher() -> ScriptedEngine:
    """Right, wrong, right, ...; the same answer to the same question whenever it is asked."""

    def answer(prompt, member: int) -> str:
        if "<response>" in prompt.text:
            box = prompt.text.rpartition(r"\boxed{")[2].partition("}")[0]
            return f"<summary>\nshort \\boxed{{{box}}}\n</summary>"
        question = asked_of(prompt)
        return f"{question.id} so \\boxed{{{question.gold if member % 2 == 0 else 999}}}"

    return ScriptedEngine(answer, "teacher")


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("zppo", "hard"),
        ("zppo", "augmented"),
        ("off_distill", "augmented"),
        ("grpo_replay_hint", "augmented"),
    ],
)
def test_overlap_changes_no_draw_no_prompt_and_no_account_of_them(tmp_path, method, scope) -> None:
    results = {}
    for n in (1, 3):
        world = World(
            tmp_path / str(n),
            student_with(some_right),
            teacher(),
            method=method,
            **{"teacher.scope": scope, "compute.overlap": n},
        )
        results[n] = [world.step(), world.step()]
    for one, three in zip(results[1], results[3], strict=True):
        assert [g.uid for g in one.plain] == [g.uid for g in three.plain]
        assert one.teacher.plan == three.teacher.plan
        assert one.asks == three.asks  # prompts, candidates, attempts and teacher tokens
        assert [g.uid for g in one.augmented] == [g.uid for g in three.augmented]
        for mine, theirs in zip(one.augmented, three.augmented, strict=True):
            assert [c.text for c in mine.completions] == [c.text for c in theirs.completions]
            assert mine.grades == theirs.grades
        draws = [
            [
                (d.question_id, d.visit, d.index, d.draw.text, d.draw.cached, d.grade.reward)
                for own in r.teacher.draws.values()
                for d in own
            ]
            for r in (one, three)
        ]
        assert draws[0] == draws[1]
        assert draws[0]


def test_the_teacher_draws_while_the_student_samples(tmp_path) -> None:
    drawing, sampling = threading.Event(), threading.Event()
    parts = []

    class Student(ScriptedEngine):
        def generate(self, prompts, *rest):
            parts.append(len(prompts))
            if len(parts) == 2:
                assert drawing.wait(20)  # the teacher is at work on the first slice
                sampling.set()
            return super().generate(prompts, *rest)

    class Teacher(ScriptedEngine):
        def generate(self, prompts, *rest):
            if not drawing.is_set():
                drawing.set()
                assert sampling.wait(20)  # and the student on the second
            return super().generate(prompts, *rest)

    student = Student(student_with(lambda p, m: False).answer, "student")
    world = World(
        tmp_path, student, Teacher(teacher().answer, "teacher"), **HARD, **{"compute.overlap": 2}
    )
    world.step()
    assert parts[:2] == [4, 4]


def test_the_teacher_compresses_while_the_student_has_the_prompts_before(tmp_path) -> None:
    compressing, sampling = threading.Event(), threading.Event()
    asked = []

    class Student(ScriptedEngine):
        def generate(self, prompts, *rest):
            if "short" in prompts[0].text:  # a candidate
                asked.append(len(prompts))
                if len(asked) == 1:
                    sampling.set()
                    assert compressing.wait(20)  # the teacher is at the next slice
            return super().generate(prompts, *rest)

    class Teacher(ScriptedEngine):
        def generate(self, prompts, *rest):
            if "<response>" in prompts[0].text:
                texts.append(len(prompts))
                if len(texts) == 2:
                    compressing.set()
                    assert sampling.wait(20)  # and the student at the first
            return super().generate(prompts, *rest)

    texts: list[int] = []
    student = Student(student_with(lambda p, m: m == 0).answer, "student")
    world = World(tmp_path, student, Teacher(teacher().answer, "teacher"), **{"compute.overlap": 2})
    result = world.step()
    assert sum(asked) == len(result.asks) == 4
    assert len(asked) == 2


def test_the_judge_grades_while_the_student_samples_the_next_slice(tmp_path) -> None:
    judging, sampling = threading.Event(), threading.Event()
    parts = []

    class Student(ScriptedEngine):
        def generate(self, prompts, *rest):
            parts.append(len(prompts))
            if len(parts) == 2:
                assert judging.wait(20)  # the first slice is with the judge
                sampling.set()
            return super().generate(prompts, *rest)

    class Judging:
        def __init__(self, inner) -> None:
            self.inner = inner

        def grade_all(self, pairs):
            if not judging.is_set():
                judging.set()
                assert sampling.wait(20)
            return self.inner.grade_all(pairs)

    student = Student(student_with(some_right).answer, "student")
    world = World(tmp_path, student, teacher(), **{"compute.overlap": 2})
    world.roles = replace(world.roles, grading=Judging(world.roles.grading))
    world.step()
    assert parts[:2] == [4, 4]


def test_slices_are_all_things_in_order_and_none_is_empty() -> None:
    assert slices([], 3) == []
    assert slices([1, 2], 3) == [[1], [2]]
    assert [len(s) for s in slices(range(10), 4)] == [2, 3, 2, 3]
    assert [x for s in slices(range(10), 4) for x in s] == list(range(10))


def test_what_the_teacher_raises_ends_the_phase(tmp_path) -> None:
    class Broken(ScriptedEngine):
        def generate(self, *arguments):
            raise ConnectionError("the endpoint is gone")

    world = World(
        tmp_path,
        student_with(lambda p, m: False),
        Broken(lambda p, m: "", "teacher"),
        **HARD,
        **{"compute.overlap": 4},
    )
    with pytest.raises(ConnectionError, match="gone"):
        world.step()
    assert not [t for t in threading.enumerate() if t.name.startswith("background")]


def test_a_failed_student_drops_what_has_not_begun() -> None:
    begun = []

    def draw(question_ids):
        begun.append(question_ids)
        time.sleep(0.2)

    def phase() -> None:
        with BackgroundQueue() as ahead:
            ahead.submit(lambda: draw(["a"]))
            ahead.submit(lambda: draw(["b"]))
            while not begun:
                time.sleep(0.01)
            raise RuntimeError("the student died")

    with pytest.raises(RuntimeError, match="student"):
        phase()
    assert begun == [["a"]]


def test_time_of_two_roles_at_once_counts_once_in_all_and_for_each() -> None:
    clock = Clock()
    before = clock.now()

    def work() -> None:
        with clock.model("teacher"):
            time.sleep(0.3)

    thread = threading.Thread(target=work)
    with clock.model("student"):
        thread.start()
        time.sleep(0.2)
    thread.join()
    time.sleep(0.1)
    with clock.model("learner"):
        time.sleep(0.1)
    spent = clock.now() - before
    assert spent.student_seconds == pytest.approx(0.2, abs=0.08)
    assert spent.teacher_seconds == pytest.approx(0.3, abs=0.08)
    assert spent.learner_seconds == pytest.approx(0.1, abs=0.08)
    assert spent.model_seconds == pytest.approx(0.4, abs=0.12)
    assert spent.model_seconds < spent.student_seconds + spent.teacher_seconds + 0.1
    assert spent.seconds > spent.model_seconds + 0.08


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["compute.overlap=2", "teacher.scope=hard", "compute.teacher_gpus=0"], "beside"),
        (["compute.overlap=0"], r"\[1, "),
    ],
)
def test_an_overlap_that_cannot_be_is_refused(sets, words) -> None:
    with pytest.raises(UserError, match=words):
        load("4B", sets)


def test_an_engine_takes_one_batch_at_a_time() -> None:
    inside, most = [], []

    class Slow(ScriptedEngine):
        def generate(self, prompts, *rest):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.1)
            inside.pop()
            return super().generate(prompts, *rest)

    engine = TimedEngine(Slow(lambda p, m: "x", "teacher"), Clock(), "teacher")
    ask = ([Prompt("?")], Sampling(8, 1), [0])
    threads = [threading.Thread(target=engine.generate, args=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


@pytest.mark.parametrize(("engine", "copied"), [("hf", 0), ("vllm", 4 * 6 + 2 * 3)])
def test_a_sync_tells_the_bytes_that_were_copied(engine, copied) -> None:
    model = torch.nn.ParameterDict({"a": torch.zeros(2, 3), "b": torch.zeros(3).bfloat16()})
    got = {}
    roles = SimpleNamespace(
        student=SimpleNamespace(
            load_weights=lambda w, v: got.update(w), shares_weights=engine == "hf"
        )
    )
    world = SimpleNamespace(
        trainer=SimpleNamespace(publish=lambda: None),
        model=model,
        roles=roles,
        config=load("nano", [f"compute.engine={engine}"]),
        state=SimpleNamespace(step=3),
        cluster=None,
    )
    world._weights = lambda: RealWorld._weights(world)
    spent = RealWorld.sync(world)
    assert spent["sync_bytes"] == copied
    assert spent["sync_seconds"] >= 0
    assert len(got) == 2
