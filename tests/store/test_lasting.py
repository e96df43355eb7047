"""What a power failure may not take: content lasts before its name, the name before a put ends.

The test hears of each `fsync`, `rename` and `link` in its order. What the file system does with
them is its own affair; POSIX promises nothing without them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zppo_core.store.checkpoint import save_checkpoint
from zppo_core.store.journal import MANIFEST, Journal
from zppo_core.store.objects import LocalStore
from zppo_core.store.teacher_cache import Memo

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no names of open files")
Heard = list[tuple[str, str, str]]  # ("flushed", path, "") or ("named", from, to), in order


@pytest.fixture
def heard(monkeypatch) -> Heard:
    events: Heard = []
    flush, replace, link = os.fsync, os.replace, os.link

    def flushed(descriptor: int) -> None:
        events.append(("flushed", os.readlink(f"/proc/self/fd/{descriptor}"), ""))
        flush(descriptor)

    def named(act: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def told(source: str, target: str) -> None:
            act(source, target)
            events.append(("named", str(source), str(target)))

        return told

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", named(replace))
    monkeypatch.setattr(os, "link", named(link))
    return events


def assert_lasts(events: Heard, target: Path) -> None:
    """Content, then name, then the folder that has the name."""
    at, source = next(
        (i, e[1]) for i, e in enumerate(events) if e[0] == "named" and e[2] == str(target)
    )
    assert ("flushed", source, "") in events[:at]
    assert ("flushed", str(target.parent), "") in events[at:]


def written(store: LocalStore, how: str, folder: Path) -> None:
    """Put an object under a/b/key in one of the store's ways."""
    if how == "put":
        store.put("a/b/key", b"1")
    elif how == "new":
        assert store.put_new("a/b/key", b"1")
    elif how == "many":
        store.put_many({"a/b/key": b"1", "a/c/other": b"2"})
    else:
        (folder / "file").write_bytes(b"1")
        store.put_file("a/b/key", folder / "file", move=how == "moved")


@pytest.mark.parametrize("how", ["put", "new", "many", "copied", "moved"])
def test_what_is_put_lasts_when_the_call_returns(tmp_path: Path, heard: Heard, how: str) -> None:
    store = LocalStore(tmp_path / "store")
    written(store, how, tmp_path)
    assert_lasts(heard, store.root / "a/b/key")
    if how == "many":
        assert_lasts(heard, store.root / "a/c/other")
    # so do the folders that were made for it
    for folder in (store.root, store.root / "a"):
        assert ("flushed", str(folder), "") in heard


@pytest.mark.parametrize("how", ["put", "new", "moved"])
def test_a_put_that_fails_leaves_nothing_beside(tmp_path: Path, monkeypatch, how: str) -> None:
    store = LocalStore(tmp_path / "store")

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("replace", "link"):
        monkeypatch.setattr(os, name, full)
    with pytest.raises(Exception, match="No space left"):
        written(store, how, tmp_path)
    assert [p for p in store.root.rglob("*") if p.is_file()] == []


def test_a_swap_lasts(tmp_path: Path, heard: Heard) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("key", b"1")
    heard.clear()
    assert store.swap("key", b"1", b"2")
    assert_lasts(heard, store.root / "key")


def test_what_a_cache_can_make_again_costs_no_flush(tmp_path: Path, heard: Heard) -> None:
    Memo(LocalStore(tmp_path / "store")).put("value", "kind", 1)
    assert [e for e in heard if e[0] == "named"]
    assert not [e for e in heard if e[0] == "flushed"]


def test_a_units_files_last_before_its_manifest_has_a_name(tmp_path: Path, heard: Heard) -> None:
    store = LocalStore(tmp_path / "store")
    Journal(store).commit("unit", {"one": b"1", "two": b"2"})
    folder = store.root / "unit"
    named = [e[2] for e in heard if e[0] == "named"]
    assert named[-1] == str(folder / MANIFEST)
    before = heard[: next(i for i, e in enumerate(heard) if e[2] == named[-1])]
    for name in ("one", "two"):
        assert_lasts(before, folder / name)
    assert_lasts(heard, folder / MANIFEST)


def test_a_checkpoint_stands_before_an_older_one_goes(tmp_path: Path, monkeypatch) -> None:
    """With one kept, a failure at any moment leaves one whole: the old or the new."""
    store = LocalStore(tmp_path / "store")
    save_checkpoint(store, "run", 1, lambda f: _write(f, b"1"), keep=1)
    unlink, stood = os.unlink, []

    def deleted(path: Path, **named: object) -> None:
        if "step-000001" in str(path):
            stood.append((store.root / "run/checkpoints/step-000002" / MANIFEST).is_file())
        unlink(path, **named)

    monkeypatch.setattr(os, "unlink", deleted)
    save_checkpoint(store, "run", 2, lambda f: _write(f, b"2"), keep=1)
    assert stood
    assert all(stood)


def test_the_manifest_of_a_checkpoint_that_goes_is_deleted_first(
    tmp_path: Path, monkeypatch
) -> None:
    store = LocalStore(tmp_path / "store")
    save_checkpoint(store, "run", 1, lambda f: _write(f, b"1"), keep=1)
    gone: list[str] = []
    unlink = os.unlink

    def deleted(path: Path, **named: object) -> None:
        if "step-000001" in str(path):
            gone.append(Path(path).name)
        unlink(path, **named)

    monkeypatch.setattr(os, "unlink", deleted)
    save_checkpoint(store, "run", 2, lambda f: _write(f, b"2"), keep=1)
    old = [name for name in gone if name in (MANIFEST, "config.json", "weights")]
    assert old[0] == MANIFEST
    assert set(old) == {MANIFEST, "config.json", "weights"}


def _write(folder: Path, data: bytes) -> None:
    for name in ("config.json", "weights"):
        (folder / name).write_bytes(data)
