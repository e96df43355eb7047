"""A phase is computed once: after a crash what it committed is read back."""

from dataclasses import asdict

import pytest
from scripted_world import World, some_right, student_with
from test_records import context_of

from zppo_core.algorithm.rollout_step import rollout_step
from zppo_core.records.codecs import AsksCodec, GroupsCodec, TeacherCodec
from zppo_core.records.phases import Clock, PhaseRecorder, step_unit
from zppo_core.records.schema import encode
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore


def test_a_phase_is_computed_once_and_always_passes_through_its_codec(tmp_path) -> None:
    class Codec:
        def encode(self, value, spent) -> dict[str, bytes]:
            spents.append(spent)
            return {"value": value.encode()}

        def decode(self, files) -> str:
            return files["value"].decode() + " read"

    spents, done = [], []
    journal = Journal(LocalStore(tmp_path), "j")
    recorder = PhaseRecorder(journal, 3, {"plain": Codec()}, Clock(), done.append)
    assert recorder("plain", lambda: "first") == "first read"
    assert recorder("plain", lambda: 1 / 0) == "first read"
    assert done == ["plain"]
    assert len(spents) == 1
    assert 0 <= spents[0].seconds < 60
    assert step_unit(3, "plain") == "step-000003/plain"
    assert journal.units() == [step_unit(3, "plain")]
    later = PhaseRecorder(journal, 4, {"plain": Codec()}, Clock())
    assert later("plain", lambda: "second") == "second read"


def test_a_phase_that_is_read_back_took_what_it_took_when_it_was_computed(tmp_path) -> None:
    class Codec:
        def encode(self, value, spent) -> dict[str, bytes]:
            row = {"run_key": "r", "step": 3, "phase": "plain", **asdict(spent), "seconds": 7.5}
            return {"phases.parquet": encode("phases", [row, row | {"phase": "plain/part"}])}

        def decode(self, files) -> str:
            return ""

    journal = Journal(LocalStore(tmp_path), "j")
    first = PhaseRecorder(journal, 3, {"plain": Codec()}, Clock())
    first("plain", lambda: "")
    assert first.replayed == {}
    again = PhaseRecorder(journal, 3, {"plain": Codec()}, Clock())
    again("plain", lambda: 1 / 0)
    assert again.replayed == {"plain": 7.5}


def test_who_is_told_of_a_commit_finds_it(tmp_path) -> None:
    class Codec:
        def encode(self, value, spent) -> dict[str, bytes]:
            return {"value": value}

        def decode(self, files) -> bytes:
            return files["value"]

    journal, found = Journal(LocalStore(tmp_path), "j"), []

    def after(phase: str) -> None:
        found.append(journal.read(step_unit(0, phase)))

    PhaseRecorder(journal, 0, {"plain": Codec()}, Clock(), after)("plain", lambda: b"x")
    assert found == [{"value": b"x"}]


def test_what_two_roles_do_at_once_counts_once(monkeypatch) -> None:
    """Student 0 to 10 s, teacher 4 to 13 s, then nobody, then the learner 20 to 25 s."""
    now = [0.0]
    monkeypatch.setattr("zppo_core.records.phases.time.perf_counter", lambda: now[0])
    clock = Clock()
    student, teacher, learner = (clock.model(r) for r in ("student", "teacher", "learner"))
    for at, act in (
        (0, student.__enter__),
        (4, teacher.__enter__),
        (10, lambda: student.__exit__(None, None, None)),
        (13, lambda: teacher.__exit__(None, None, None)),
        (20, learner.__enter__),
        (25, lambda: learner.__exit__(None, None, None)),
    ):
        now[0] = float(at)
        act()
    spent = clock.now()
    assert (spent.student_seconds, spent.teacher_seconds, spent.learner_seconds) == (10, 9, 5)
    assert (spent.model_seconds, spent.seconds) == (18, 25)
    assert (spent - spent).model_seconds == 0


@pytest.mark.parametrize(
    "method", ["zppo", "dapo", "luffy", "questa", "bread", "scaf_grpo", "opsd"]
)
def test_a_resumed_step_makes_the_same_of_what_was_committed(tmp_path, method: str) -> None:
    """A step whose first phases were lost at a crash ends as one that was never broken."""
    ends = []
    for broken in (False, True):
        sets = {"teacher.scope": "hard", "run.rollout_steps": 4}
        world = World(tmp_path / "cache", student_with(some_right), method=method, **sets)
        world.state.step = 2  # past what a method leaves out at the beginning of a run
        world.student.load_weights({}, 2)
        journal = Journal(LocalStore(tmp_path / str(broken)), "j")
        context = context_of(world, 0)
        codecs = {
            "plain": GroupsCodec(context, "plain"),
            "teacher": TeacherCodec(context),
            "reformulate": AsksCodec(context),
            "augmented": GroupsCodec(context, "augmented"),
        }

        def run(world=world, journal=journal, codecs=codecs, until=""):
            recorder = PhaseRecorder(journal, 0, codecs, Clock())

            def record(phase, compute):
                if phase == until:
                    raise KeyboardInterrupt
                return recorder(phase, compute)

            return rollout_step(world.state, world.roles, world.corpus, world.config, record)

        if broken:
            for last in ("teacher", "augmented"):
                with pytest.raises(KeyboardInterrupt):
                    run(until=last)
        run()
        ends.append(
            [
                (
                    tokens,
                    [
                        (
                            g.uid,
                            [
                                (
                                    s.token_ids_T.tolist(),
                                    s.weights_T.tolist(),
                                    None if s.old_logp_T is None else s.old_logp_T.tolist(),
                                    s.given,
                                )
                                for s in g.suffixes
                            ],
                        )
                        for g in groups
                    ],
                )
                for groups, tokens in world.learner.updates
            ]
        )
        assert world.state.visits == dict.fromkeys(world.state.visits, 1)
    assert ends[0] == ends[1]
