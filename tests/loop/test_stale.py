"""Plain rollouts of the next step before an update: whose weights, what is recorded, repeats."""

import threading
from dataclasses import replace

import pytest
from scripted_world import MANY, Learner, Watched, World, changing, student_with
from test_records import context_of
from test_streaming import learned, teacher_answer

from zppo_core.algorithm.rollout_step import rollout_step
from zppo_core.algorithm.rollouts import StaleWeightsError
from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.records.codecs import AsksCodec, GroupsCodec, TeacherCodec
from zppo_core.records.phases import Clock, PhaseRecorder
from zppo_core.records.schema import decode
from zppo_core.run.verify import UNTOLD
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore

STEPS = 4


class Killed(BaseException):
    """The process is gone."""


def stale_world(folder, overlaps: bool, joins: bool = False) -> World:
    """A student whose answers change with its weights, so that it shows who has sampled."""
    student = Watched(student_with(lambda p, m: right(p, m)).answer, "student", joins=joins)
    right = changing(lambda: student.version)
    teacher = Watched(teacher_answer, "teacher", joins=joins)
    sets = {"rollout.new_prompts": 12, "replay.ratio": 0.5}
    world = World(folder, student, teacher, questions=MANY, **sets)
    world.roles = replace(world.roles, overlaps=overlaps)
    return world


def step_of(world: World, journal: Journal, last: int, kill: tuple[int, str]) -> None:
    """One rollout step through the journal; the process dies after the commit of `kill`."""
    step, asks = world.state.step, {}
    context = context_of(world, step)
    codecs = {
        "plain": GroupsCodec(context, "plain"),
        "teacher": TeacherCodec(context),
        "reformulate": AsksCodec(context),
        "augmented": GroupsCodec(context, "augmented", asks),
    }
    after = {"plain": GroupsCodec(replace(context, step=step + 1), "plain")}

    def record(phase, compute, ahead=0):
        value = PhaseRecorder(journal, step + ahead, after if ahead else codecs, Clock())(
            phase, compute
        )
        if phase == "reformulate":
            asks.update({a.uid(step): a for a in value})
        if (step + ahead, phase) == kill:
            raise Killed
        return value

    more = step + 1 < last
    rollout_step(world.state, world.roles, world.corpus, world.config, record, more)
    if (step, "update") == kill:
        raise Killed
    world.student.load_weights({}, world.state.step)


def rows_of(journal: Journal) -> dict[str, list[dict]]:
    return {
        f"{unit}/{name}": [
            {k: v for k, v in row.items() if not k.endswith("seconds") and k not in UNTOLD}
            for row in decode(name.removesuffix(".parquet"), data).to_pylist()
        ]
        for unit in journal.units()
        for name, data in (journal.read(unit) or {}).items()
        if name.endswith(".parquet")
    }


def steps_of(world: World, journal: Journal, kill: tuple[int, str] = (-1, "")) -> None:
    for _ in range(STEPS):
        step_of(world, journal, STEPS, kill)


def run_of(folder, overlaps: bool, kill: tuple[int, str] = (-1, ""), joins: bool = False):
    """The journal and the updates of a run that dies once, and begins again without checkpoint."""
    journal = Journal(LocalStore(folder / "journal"), "j")
    if kill[0] >= 0:
        world = stale_world(folder / "cache", overlaps, joins)
        with pytest.raises(Killed):
            steps_of(world, journal, kill)
    world = stale_world(folder / "cache", overlaps, joins)
    steps_of(world, journal)
    return rows_of(journal), learned(world)


@pytest.mark.parametrize("overlaps", [False, True])
def test_plain_rollouts_carry_the_weights_of_a_step_ago_and_the_others_those_of_now(
    tmp_path, overlaps
) -> None:
    rows, updates = run_of(tmp_path, overlaps)
    versions = {
        name.rpartition("/")[0]: {row["version"] for row in found}
        for name, found in rows.items()
        if name.endswith("rollouts.parquet")
    }
    for step in range(STEPS):
        assert versions[f"step-{step:06d}/plain"] == {max(step - 1, 0)}
        assert versions[f"step-{step:06d}/augmented"] == {step}
    assert f"step-{STEPS:06d}/plain" not in versions  # after the last step nothing begins
    assert len(updates) == 2 * STEPS


@pytest.mark.parametrize("joins", [False, True])
def test_what_is_sampled_beside_the_update_is_what_is_sampled_before_it(tmp_path, joins) -> None:
    found = [run_of(tmp_path / str(o), o, joins=joins) for o in (False, True)]
    assert found[0] == found[1]


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize(
    "kill", [(2, "plain"), (1, "teacher"), (1, "augmented"), (1, "update"), (0, "update")]
)
def test_a_killed_run_ends_with_the_same_journal_and_updates(tmp_path, overlaps, kill) -> None:
    whole = run_of(tmp_path / "whole", overlaps)
    assert run_of(tmp_path / "killed", overlaps, kill) == whole


def test_replayed_questions_are_those_of_the_buffer_after_the_step(tmp_path) -> None:
    rows, _ = run_of(tmp_path, False)
    for step in range(1, STEPS):
        before = rows[f"step-{step - 1:06d}/plain/groups.parquet"]
        hard = {g["question_id"] for g in before if g["accuracy"] < 0.5}
        easy = {g["question_id"] for g in before} - hard
        replayed = {
            g["question_id"]
            for g in rows[f"step-{step:06d}/plain/groups.parquet"]
            if g["kind"] == "replay"
        }
        assert replayed
        assert not replayed & easy
    first = rows["step-000001/plain/groups.parquet"]
    assert {g["question_id"] for g in first if g["kind"] == "replay"} <= {
        g["question_id"] for g in rows["step-000000/plain/groups.parquet"] if g["accuracy"] < 0.5
    }


class Waiting(Learner):
    """Updates only once the student samples the next step's prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work, self.sampling = threading.Event(), threading.Event()

    def score(self, groups):
        self.at_work.set()
        return super().score(groups)

    def update(self, groups, tokens=None):
        assert self.sampling.wait(20)
        return super().update(groups, tokens)


def test_the_student_samples_while_the_learner_updates(tmp_path) -> None:
    world, learner = stale_world(tmp_path, overlaps=True), Waiting()
    world.roles = replace(world.roles, learner=learner)

    def record(phase, compute, ahead=0):
        if ahead:
            assert learner.at_work.wait(20)
            asked = len(world.student.calls)
            value = compute()
            assert len(world.student.calls) > asked
            learner.sampling.set()
            return value
        return compute()

    rollout_step(world.state, world.roles, world.corpus, world.config, record, True)
    assert learner.did == ["score", "update", "update"]
    assert world.state.step == 1


def test_without_a_process_of_its_own_the_student_samples_before_the_update(tmp_path) -> None:
    world, did = stale_world(tmp_path, overlaps=False), []

    def record(phase, compute, ahead=0):
        value = compute()
        if ahead:
            assert threading.current_thread() is threading.main_thread()
            did.append((phase, ahead, list(world.learner.did)))
        return value

    rollout_step(world.state, world.roles, world.corpus, world.config, record, True)
    assert did == [("plain", 1, [])]
    assert world.learner.did == ["score", "update", "update"]


def test_a_fault_of_the_update_ends_what_samples_beside_it(tmp_path) -> None:
    world = stale_world(tmp_path, overlaps=True)

    class Broken(Learner):
        def update(self, groups, tokens=None):
            raise ConnectionError("rank 1 is gone")

    world.roles = replace(world.roles, learner=Broken())
    with pytest.raises(ConnectionError, match="rank 1 is gone"):
        rollout_step(
            world.state,
            world.roles,
            world.corpus,
            world.config,
            lambda phase, compute, ahead=0: compute(),
            True,
        )
    assert world.state.step == 0
    assert not [t for t in threading.enumerate() if t.name == "background"]


def test_an_engine_that_has_new_weights_already_is_refused(tmp_path) -> None:
    world = stale_world(tmp_path, overlaps=False)

    def record(phase, compute, ahead=0):
        if ahead:
            world.student.load_weights({}, world.state.step + 1)
        return compute()

    with pytest.raises(StaleWeightsError, match="sampled by weights 1, not 0"):
        rollout_step(world.state, world.roles, world.corpus, world.config, record, True)


def test_settings_that_do_not_go_with_it_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"loss\.importance_cap=2"):
        load("nano", ["compute.staleness=1"])
    with pytest.raises(UserError, match="distillation has no importance weights"):
        load("nano", ["compute.staleness=1", "loss.importance_cap=2", "run.method=on_distill"])
    with pytest.raises(UserError, match=r"compute\.staleness"):
        load("nano", ["compute.staleness=2", "loss.importance_cap=2"])
