"""Real engines, asked for one prompt at a time as others finish, give the same records."""

import threading
from dataclasses import replace

import pytest

from zppo_core.config import load
from zppo_core.engines.base import ForwardingEngine
from zppo_core.models.weights import weight_hash
from zppo_core.records.schema import decode
from zppo_core.run.loop import one_step
from zppo_core.run.session import Session, open_session
from zppo_core.run.setup import open_run
from zppo_core.run.spec import Run
from zppo_core.run.verify import UNTOLD
from zppo_core.store.objects import open_store


class OneByOne(ForwardingEngine):
    """Joins requests, each a batch of its own: the last of a call is finished first."""

    def __init__(self, inner) -> None:
        self.inner, self.lock = inner, threading.Lock()

    def _inner(self):
        return self.inner

    @property
    def joins(self) -> bool:
        return True

    def generate(self, prompts, sampling, seeds, progress=None):
        with self.lock:
            return self.inner.generate(prompts, sampling, seeds, progress)

    def stream(self, prompts, sampling, seeds, progress=None):
        for i in reversed(range(len(prompts))):
            (group,) = self.generate([prompts[i]], sampling, [seeds[i]])
            yield [(i, group)]


def streaming(world: Session) -> None:
    roles = world.roles
    student = replace(roles.student, inner=OneByOne(roles.student.inner))
    teachers = tuple(replace(t, inner=OneByOne(t.inner)) for t in roles.teachers)
    writer = replace(roles.compressor, engine=teachers[0])
    world.roles = replace(roles, student=student, teachers=teachers, compressor=writer)


def rows_of(run: Run) -> dict[str, list[dict]]:
    return {
        f"{unit}/{name}": [
            {k: v for k, v in row.items() if not k.endswith("seconds") and k not in UNTOLD}
            for row in decode(name.removesuffix(".parquet"), data).to_pylist()
        ]
        for unit in run.journal.units("step-")
        for name, data in (run.journal.read(unit) or {}).items()
        if name.endswith(".parquet")
    }


def test_nano_engines_that_stream_leave_the_same_journal_and_weights(tmp_path) -> None:
    found = []
    for way in ("batches", "streams"):
        folder = tmp_path / way
        sets = [
            f"store.root={folder}/runs",
            f"store.cache={folder}/cache",
            "teacher.scope=hard",
            "rollout.new_prompts=12",
            "data.train_questions=120",
        ]
        run = open_run(load("nano", sets), "test")
        world = open_session(
            load("nano", sets),
            open_store(f"{folder}/cache"),
            lambda phase: lambda done, total: None,
        )
        if way == "streams":
            streaming(world)
        for _ in range(2):
            one_step(world, run)
        found.append((rows_of(run), weight_hash(world.model.state_dict().items())))
        world.close()
    (batches, weights), (streams, same_weights) = found
    assert batches.keys() == streams.keys()
    differing = set()
    for name, rows in batches.items():
        for mine, theirs in zip(rows, streams[name], strict=True):
            for column, value in mine.items():
                if theirs[column] != value and column != "run_key":
                    # a transformers model rounds a row by what else is in the batch
                    assert value == pytest.approx(theirs[column], abs=1e-5), (name, column)
                    differing.add(column)
    assert differing <= {"logp", "mismatch_mean", "mismatch_max"}, differing
    assert weights == same_weights
