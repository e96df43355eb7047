"""Groups are followed up as they finish, with the records of the phases one after the other."""

import json
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_world import (
    MANY,
    Learner,
    Watched,
    World,
    asked_of,
    changing,
    number,
    some_right,
    student_with,
)
from test_records import context_of

from zppo_core.algorithm.augmentation_plan import (
    certain_instances,
    hardest_first,
    plan_augmentations,
)
from zppo_core.algorithm.reformulations import find
from zppo_core.algorithm.rollout_step import rollout_step
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.processes.background import Background
from zppo_core.protocols import Sampling
from zppo_core.records.codecs import AsksCodec, GroupsCodec, TeacherCodec
from zppo_core.records.phases import Clock, PhaseRecorder
from zppo_core.records.schema import decode
from zppo_core.records.step_tables import cost_rows
from zppo_core.run.metrics import metrics_of
from zppo_core.run.session import TimedEngine
from zppo_core.run.verify import UNTOLD
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore
from zppo_core.streams import stream
from zppo_core.types import Prompt

HARD = {"teacher.scope": "hard"}


class OutOfOrder(Watched):
    """Joins requests, and finishes those of a call in an order of its own, each in its time."""

    def __init__(self, *arguments, **named) -> None:
        super().__init__(*arguments, **named, joins=True)

    def stream(self, prompts, sampling, seeds, progress=None):
        order = sorted(range(len(prompts)), key=lambda i: number(prompts[i].text, "order"))
        for done, i in enumerate(order, 1):
            time.sleep(number(prompts[i].text, seeds[i]) % 8 / 1000)
            ((group),) = self.generate([prompts[i]], sampling, [seeds[i]])
            if progress is not None:
                progress(done, len(prompts))
            yield [(i, group)]

    def generate(self, prompts, sampling, seeds, progress=None):
        time.sleep(number(prompts[0].text, "teacher") % 5 / 1000 if prompts else 0)
        return super().generate(prompts, sampling, seeds, progress)


def teacher_answer(prompt: Prompt, member: int) -> str:
    """Right for two of three; the same answer to the same question whenever it is asked."""
    if "<response>" in prompt.text:
        box = prompt.text.rpartition(r"\boxed{")[2].partition("}")[0]
        if number(prompt.text) % 4 == 0:
            return "no summary"  # so that some candidates are asked for again
        if "<hint>" in prompt.text:
            return "<hint>\nadd the two\n</hint>"
        return f"<summary>\nshort \\boxed{{{box}}}\n</summary>"
    question = asked_of(prompt)
    right = (member + int(question.id[1:])) % 3 and question.id != "q2"
    return f"{question.id} so \\boxed{{{question.gold if right else 999}}}"


def student_of(kind: type[Watched]) -> Watched:
    answer = student_with(lambda prompt, member: right(prompt, member)).answer
    student = kind(answer, "student")
    right = changing(lambda: student.version)
    return student


def world_of(folder, kind: type[Watched], **sets) -> World:
    world = World(
        folder,
        student_of(kind),
        kind(teacher_answer, "teacher"),
        questions=MANY,
        **{"rollout.new_prompts": 12, "replay.ratio": 0.5, **sets},
    )
    if world.config.run.method == "zppo_teachers":
        second = kind(lambda p, m: teacher_answer(p, m + 1), "second")
        world.roles = replace(world.roles, teachers=(world.teacher, second))
    return world


def journal_of(world: World, folder, steps: int = 2, kill: str = "") -> dict[str, list]:
    """The rows of `steps` rollout steps as they are recorded, without times; `kill`: a phase before
    whose commit the process dies once."""
    journal = Journal(LocalStore(folder), "j")
    for step in range(steps):
        context = context_of(world, step)
        asks = {}
        codecs = {
            "plain": GroupsCodec(context, "plain"),
            "teacher": TeacherCodec(context),
            "reformulate": AsksCodec(context),
            "augmented": GroupsCodec(context, "augmented", asks),
        }

        def run(deadly: str, codecs=codecs, asks=asks, step=step) -> None:
            recorder = PhaseRecorder(journal, step, codecs, Clock())

            def record(phase, compute):
                if phase == deadly:
                    compute()
                    raise KeyboardInterrupt
                value = recorder(phase, compute)
                if phase == "reformulate":
                    asks.update({a.uid(step): a for a in value})
                return value

            rollout_step(world.state, world.roles, world.corpus, world.config, record)

        if kill:
            with pytest.raises(KeyboardInterrupt):
                run(kill)
        run("")
        world.student.load_weights({}, world.state.step)
    rows: dict[str, list] = {}
    for unit in journal.units():
        for name, data in (journal.read(unit) or {}).items():
            if name.endswith(".json"):
                rows[f"{unit}/{name}"] = json.loads(data)
                continue
            table = decode(name.removesuffix(".parquet"), data).to_pylist()
            rows[f"{unit}/{name}"] = [
                {k: v for k, v in row.items() if not k.endswith("seconds") and k not in UNTOLD}
                for row in table
            ]
    return rows


def learned(world: World) -> list:
    """What the trainer was given: it makes the weights of it."""
    return [
        (
            tokens,
            [
                (
                    g.uid,
                    [(s.token_ids_T.tolist(), s.weights_T.tolist()) for s in g.suffixes],
                )
                for g in groups
            ],
        )
        for groups, tokens in world.learner.updates
    ]


def asked(world: World) -> list[tuple[str, int]]:
    """Prompts and seeds of the student, and those of summaries."""
    calls = [(c, True) for c in world.student.calls] + [(c, False) for c in world.teacher.calls]
    return sorted(
        (prompt.text, seed)
        for call, student in calls
        for prompt, seed in zip(call.prompts, call.seeds, strict=True)
        if student or "<response>" in prompt.text
    )


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("zppo", "hard"),
        ("zppo", "augmented"),
        ("zppo_dynamic", "augmented"),
        ("zppo_teachers", "augmented"),
        ("zppo_placebo", "hard"),
        ("off_distill", "augmented"),
        ("grpo_replay_hint", "augmented"),
        ("grpo_replay_ncq", "augmented"),
        ("grpo_replay_again", "augmented"),
        ("grpo", "augmented"),
    ],
)
def test_the_journal_is_that_of_one_phase_after_the_other(tmp_path, method, scope) -> None:
    found = []
    for kind in (Watched, OutOfOrder):
        sets = {"run.method": method, "teacher.scope": scope}
        sets |= {"teacher.more_models": "second"} if method == "zppo_teachers" else {}
        world = world_of(tmp_path / f"{kind.__name__}-cache", kind, **sets)
        found.append((journal_of(world, tmp_path / kind.__name__), learned(world), asked(world)))
    assert found[0][0].keys() == found[1][0].keys()
    for name, rows in found[0][0].items():
        assert found[1][0][name] == rows, name
    assert found[0][1] == found[1][1]
    assert found[0][2] == found[1][2]  # each student prompt and each summary is asked for once


@pytest.mark.parametrize("phase", ["plain", "teacher", "reformulate", "augmented"])
def test_a_killed_step_ends_with_the_same_journal(tmp_path, phase) -> None:
    found = []
    for kill in ("", phase):
        world = world_of(tmp_path / f"cache-{kill}", OutOfOrder, **HARD)
        found.append((journal_of(world, tmp_path / f"journal-{kill}", 1, kill), learned(world)))
    assert found[0] == found[1]


accuracies_of_hard = st.lists(st.sampled_from([0.0, 0.25, 0.375, 1.0]), max_size=12)


@given(st.data(), accuracies_of_hard, st.integers(0, 12), st.booleans())
def test_what_is_certain_enters_whatever_else_is_right(data, accuracies, cap, ncq) -> None:
    kinds = ("bcq", "ncq") if ncq else ("bcq",)
    truths = data.draw(st.lists(st.booleans(), min_size=len(accuracies), max_size=len(accuracies)))
    kept = hardest_first(accuracies, stream(0, "x"))[:cap]
    plan = plan_augmentations(accuracies, truths, cap, stream(0, "x"), kinds)
    known = data.draw(st.sets(st.sampled_from(kept))) if kept else set()
    certain = certain_instances(accuracies, kept, {i: truths[i] for i in known}, cap, kinds)
    assert [one for one in plan if one in certain] == certain
    everything = certain_instances(accuracies, kept, {i: truths[i] for i in kept}, cap, kinds)
    assert everything == plan
    # what it holds back may indeed stay outside
    for index in known:
        for kind in kinds:
            if (index, kind) in plan and (index, kind) not in certain:
                all_right = [truths[i] if i in known else True for i in range(len(truths))]
                dear = plan_augmentations(accuracies, all_right, cap, stream(0, "x"), kinds)
                assert (index, kind) not in dear or accuracies[index] >= 1.0


class Meeting(ScriptedEngine):
    """Waits in some call until another engine is in one of its own."""

    def __init__(self, answer, name, waits, here, there) -> None:
        super().__init__(answer, name, joins=True)
        self.waits, self.here, self.there = waits, here, there

    def generate(self, prompts, *rest):
        if self.waits(prompts[0]):
            self.here.set()
            assert self.there.wait(20)
        return super().generate(prompts, *rest)


def never_right(prompt: Prompt, member: int) -> bool:
    return False


def test_the_teacher_draws_while_the_student_samples(tmp_path) -> None:
    drawing, sampling = threading.Event(), threading.Event()
    count = iter(range(10**6))
    student = Meeting(
        student_with(never_right).answer,
        "student",
        lambda p: "<candidate>" not in p.text and next(count) == 3,  # the fourth plain prompt
        sampling,
        drawing,
    )
    teacher = Meeting(
        teacher_answer, "teacher", lambda p: "<response>" not in p.text, drawing, sampling
    )
    for scope in ("hard", "augmented"):
        world = World(tmp_path / scope, student, teacher, **{"teacher.scope": scope})
        world.step()
        assert drawing.is_set()
        assert sampling.is_set()
        drawing.clear()
        sampling.clear()
        count = iter(range(10**6))
        student.load_weights({}, 0)


def test_teachers_draw_for_a_question_at_the_same_time(tmp_path) -> None:
    first, second = threading.Event(), threading.Event()
    student = ScriptedEngine(student_with(never_right).answer, "student", joins=True)

    def draw(prompt: Prompt) -> bool:
        return "<response>" not in prompt.text

    one = Meeting(teacher_answer, "one", draw, first, second)
    two = Meeting(lambda p, m: teacher_answer(p, m + 1), "two", draw, second, first)
    sets = {"run.method": "zppo_teachers", "teacher.more_models": "two", **HARD}
    world = World(tmp_path, student, one, **sets)
    world.roles = replace(world.roles, teachers=(one, two))
    result = world.step()
    draws = next(iter(result.teacher.draws.values()))
    asked = Prompt(world.corpus[draws[0].question_id].text)
    assert [d.draw.text for d in draws] == [
        teacher_answer(asked, i) for i in (*range(3), *range(1, 4))
    ]


def test_the_teacher_compresses_while_the_student_has_prompts(tmp_path) -> None:
    compressing, sampling = threading.Event(), threading.Event()
    count = iter(range(10**6))
    student = Meeting(
        student_with(never_right).answer,
        "student",
        lambda p: "<candidate>" in p.text,
        sampling,
        compressing,
    )
    teacher = Meeting(
        teacher_answer,
        "teacher",
        lambda p: "<response>" in p.text and next(count) == 1,
        compressing,
        sampling,
    )
    result = World(tmp_path, student, teacher, **HARD).step()
    assert len(result.asks) == 4
    assert sampling.is_set()


def test_what_is_certain_is_sampled_while_a_draw_is_missing(tmp_path) -> None:
    """Four slots: two questions enter whatever the draws of the others bring."""
    drawing, sampling = threading.Event(), threading.Event()
    count = iter(range(10**6))
    student = Meeting(
        student_with(never_right).answer,
        "student",
        lambda p: "<candidate>" in p.text,
        sampling,
        drawing,
    )
    teacher = Meeting(
        teacher_answer,
        "teacher",
        lambda p: "<response>" not in p.text and next(count) == 0,
        drawing,
        sampling,
    )
    World(tmp_path, student, teacher, **HARD).step()
    assert sampling.is_set()


def test_the_judge_grades_while_the_student_samples(tmp_path) -> None:
    judging, sampling = threading.Event(), threading.Event()
    count = iter(range(10**6))
    student = Meeting(
        student_with(some_right).answer, "student", lambda p: next(count) == 1, sampling, judging
    )

    class Judging:
        def __init__(self, inner) -> None:
            self.inner = inner

        def grade_all(self, pairs):
            if not judging.is_set():
                judging.set()
                assert sampling.wait(20)
            return self.inner.grade_all(pairs)

    world = World(tmp_path, student, ScriptedEngine(teacher_answer, "teacher", joins=True))
    world.roles = replace(world.roles, grading=Judging(world.roles.grading))
    world.step()
    assert sampling.is_set()


def test_a_lazy_teacher_draws_for_no_more_than_the_cap_and_half_of_it(tmp_path) -> None:
    """8 of 24 questions may enter; drawn for are those that the walk may come to, at most."""
    drawn = {}
    for kind in (Watched, OutOfOrder):
        student = kind(student_with(never_right).answer, "student")
        teacher = kind(teacher_answer, "teacher")
        sets = {"rollout.new_prompts": 24, "reformulation.ratio": 1 / 3}
        world = World(tmp_path / kind.__name__, student, teacher, questions=MANY, **sets)
        result = world.step()
        asked = {asked_of(p).id for p in teacher.prompts if "<response>" not in p.text}
        assert set(result.teacher.draws) <= asked
        drawn[kind] = (list(result.teacher.draws), result.teacher.plan, asked)
    assert drawn[Watched][:2] == drawn[OutOfOrder][:2]
    assert len(drawn[Watched][2]) == len(drawn[Watched][0])  # batches: no draw on a guess
    assert len(drawn[OutOfOrder][0]) < len(drawn[OutOfOrder][2]) <= 8 + 4


def test_tokens_drawn_without_use_are_a_cost_and_a_metric_once(tmp_path) -> None:
    spent = {}
    for kind, run in ((Watched, 0), (OutOfOrder, 0), (OutOfOrder, 1)):
        student = kind(student_with(never_right).answer, "student")
        teacher = kind(teacher_answer, "teacher")
        sets = {"rollout.new_prompts": 24, "reformulation.ratio": 1 / 3}
        world = World(tmp_path / kind.__name__, student, teacher, questions=MANY, **sets)
        result = world.step()
        asked = [p for p in teacher.prompts if "<response>" not in p.text]
        unused = [p for p in asked if asked_of(p).id not in result.teacher.draws]
        tokens = sum(len(teacher_answer(p, i).encode()) for p in unused for i in range(3))
        assert result.spare == tokens
        assert metrics_of(result, {"plain": 1.0})["tokens/spare"] == tokens
        costs = {
            (r["role"], r["activity"]): (r["tokens"], r["tokens_cap"])
            for r in cost_rows(context_of(world, 0), result)
        }
        assert costs.get(("teacher", "spare"), (0, 0)) == (tokens, 0)
        spent[kind, run] = tokens
    assert spent[Watched, 0] == 0  # one batch after the other: no draw on a guess
    assert spent[OutOfOrder, 0] > spent[OutOfOrder, 1]  # the second run has them from the cache


def test_what_the_teacher_raises_ends_the_phase(tmp_path) -> None:
    class Broken(ScriptedEngine):
        def generate(self, *arguments):
            raise ConnectionError("the endpoint is gone")

    student = ScriptedEngine(student_with(never_right).answer, "student", joins=True)
    world = World(tmp_path, student, Broken(lambda p, m: "", "teacher", joins=True), **HARD)
    with pytest.raises(ConnectionError, match="gone"):
        world.step()
    assert not [t for t in threading.enumerate() if t.name.startswith("background")]
    assert world.phases in (["plain"], ["plain", "teacher"])


def test_an_engine_that_loses_a_prompt_of_a_stream_is_an_error(tmp_path) -> None:
    class Losing(ScriptedEngine):
        def stream(self, prompts, *rest):
            yield from list(super().stream(prompts, *rest))[:-1]

    answers = {"student": student_with(never_right).answer, "teacher": teacher_answer}
    for who in answers:
        engines = [
            (Losing if name == who else ScriptedEngine)(answer, name, joins=True)
            for name, answer in answers.items()
        ]
        with pytest.raises(ValueError, match=f"{who}'s answers are shorter"):
            World(tmp_path / who, *engines).step()


def test_the_first_fault_is_everybodys_and_nothing_begins_after_it() -> None:
    release, begun = threading.Event(), []

    def fail() -> None:
        raise ConnectionError("gone")

    def work() -> None:
        with Background() as beside:
            waiting = beside.submit(lambda: release.wait(20))
            beside.submit(fail)
            with pytest.raises(ConnectionError, match="gone"):
                waiting.result(timeout=20)
            with pytest.raises(ConnectionError, match="gone"):
                beside.submit(lambda: begun.append(1))
            release.set()
            with pytest.raises(ConnectionError, match="gone"):
                beside.check()

    with pytest.raises(ConnectionError, match="gone"):
        work()
    assert not begun
    assert not [t for t in threading.enumerate() if t.name == "background"]


def test_all_that_has_begun_is_waited_for_with_what_it_begins() -> None:
    ended = []

    def first() -> None:
        time.sleep(0.05)
        beside.submit(second)

    def second() -> None:
        time.sleep(0.05)
        ended.append("second")

    with Background() as beside:
        beside.submit(first)
    assert ended == ["second"]


def test_calls_of_one_role_at_once_count_once(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("zppo_core.records.phases.time.perf_counter", lambda: now[0])
    clock = Clock()
    one, two = clock.model("teacher"), clock.model("teacher")
    for at, act in ((1, one.__enter__), (2, two.__enter__)):
        now[0] = float(at)
        act()
    now[0] = 4.0
    assert (clock.now().teacher_seconds, clock.now().model_seconds) == (3, 3)  # still at work
    one.__exit__(None, None, None)
    now[0] = 6.0
    two.__exit__(None, None, None)
    now[0] = 9.0
    assert (clock.now().teacher_seconds, clock.model_seconds) == (5, 5)


@pytest.mark.parametrize("joins", [True, False])
def test_only_an_engine_that_joins_has_several_calls_at_once(joins: bool) -> None:
    inside, most = [], []

    class Slow(ScriptedEngine):
        def generate(self, prompts, *rest):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.1)
            inside.pop()
            return super().generate(prompts, *rest)

    engine = TimedEngine(Slow(lambda p, m: "x", "t", joins=joins), Clock(), "teacher")
    ask = ([Prompt("?")], Sampling(8, 1), [0])
    calls = [lambda: engine.generate(*ask), lambda: list(engine.stream(*ask))] * 2
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most) > 1) is joins
    assert len(most) == 4


def test_a_kind_that_exchanges_is_not_settled_alone() -> None:
    assert find("bcq").alone
    assert find("ncq").alone
    assert not find("placebo_bcq").alone


def test_one_update_s_log_probabilities_are_scored_once(tmp_path) -> None:
    """A rank shares its GPU with an engine: nothing is scored while others sample."""
    world = world_of(tmp_path, OutOfOrder)
    world.learner = Learner()
    world.roles = replace(world.roles, learner=world.learner)
    world.step()
    assert world.learner.did == ["score", "update", "update"]
