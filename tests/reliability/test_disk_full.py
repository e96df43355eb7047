"""A disk that refuses a write costs nothing that was committed, and says so in one line."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from whole_run import database_journal

from eval.report import database
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.protocols import Sampling
from zppo_core.store.checkpoint import latest_checkpoint, save_checkpoint, steps
from zppo_core.store.journal import Journal
from zppo_core.store.lock import RunLock
from zppo_core.store.objects import LocalStore
from zppo_core.store.teacher_cache import DrawRequest, TeacherCache
from zppo_core.types import Prompt


@contextlib.contextmanager
def room(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def weights(folder: Path) -> None:
    from safetensors.numpy import save_file

    (folder / "student").mkdir()
    save_file({"w": np.zeros(100_000, np.float32)}, folder / "student" / "model.safetensors")


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    save_checkpoint(store, "r", 1, weights, keep=2)
    with (
        room(50_000),
        pytest.raises(UserError, match=r"cannot write .*step-000002.*resume") as said,
    ):
        save_checkpoint(store, "r", 2, weights, keep=2)
    assert len(str(said.value).splitlines()) == 1
    found = latest_checkpoint(store, "r")
    assert found is not None
    assert found.step == 1
    save_checkpoint(store, "r", 2, weights, keep=2)
    assert steps(store, "r") == [1, 2]


def test_a_unit_and_a_draw_that_find_no_room_are_not_there(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    journal = Journal(store, "r/journal")
    with room(10_000), pytest.raises(UserError, match=r"cannot write .*resume"):
        journal.commit("step-000000/plain", {"big": bytes(100_000)})
    assert journal.read("step-000000/plain") is None
    journal.commit("step-000000/plain", {"big": bytes(100_000)})
    teacher = ScriptedEngine(lambda prompt, member: "x" * 20_000, "teacher")
    asked = [DrawRequest("q", Prompt("q"), 0)]
    with room(20), pytest.raises(UserError, match=r"cannot write .*resume"):
        TeacherCache(store).draws(asked, teacher, Sampling(8), None)
    cache = TeacherCache(store)
    cache.draws(asked, teacher, Sampling(8), None)
    assert cache.counters.misses == 1


def test_an_ingestion_that_finds_no_room_is_one_line_and_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "db.duckdb"
    with room(200_000), pytest.raises(UserError, match=r"db\.duckdb") as said:
        database.ingest(database_journal(), "a", path)
    assert len(str(said.value).splitlines()) == 1
    assert database.ingest(database_journal(), "a", path)["runs"] == 1


def test_a_folder_that_is_no_step_is_no_checkpoint(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    save_checkpoint(store, "r", 1, weights, keep=2)
    for name in ("step-abc", "step-²", "step-"):
        folder = tmp_path / "r" / "checkpoints" / name
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps({"files": {}, "step": 9}))
    assert steps(store, "r") == [1]


@pytest.mark.parametrize("record", [b"garbage", b"[]", b"{}", b'{"pid": "abc", "machine": 1}'])
def test_a_lock_of_a_foreign_shape_is_taken_over_after_a_while(tmp_path: Path, record) -> None:
    store = LocalStore(tmp_path)
    store.put("run/lock.json", record)
    with RunLock(store, "run", stale=0.2):
        assert json.loads(store.get("run/lock.json"))["pid"] > 0
