import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.errors import UserError
from zppo_core.store import s3
from zppo_core.store.objects import (
    DamagedObjectError,
    LocalStore,
    MissingObjectError,
    check_key,
    get_tree,
    in_parallel,
    open_store,
    put_tree,
)


def test_an_object_is_what_was_put(store) -> None:
    store.put("a/b.bin", b"\0\1\2")
    store.put("a/b.bin", b"again")
    store.put("a/c", b"")
    assert store.get("a/b.bin") == b"again"
    assert store.get("a/c") == b""
    assert store.list("a/") == ["a/b.bin", "a/c"]
    assert store.list("a/b") == ["a/b.bin"]
    assert store.exists("a/c")
    store.delete("a/c")
    store.delete("a/c")
    assert not store.exists("a/c")
    for read in (store.get, store.digest):
        with pytest.raises(MissingObjectError):
            read("a/c")


def test_a_listing_tells_size_and_time_and_only_what_the_prefix_names(store) -> None:
    before = time.time()
    store.put_many({"a/1": b"x", "a/b/2": b"xx", "ab/3": b"xxx", "c": b""})
    assert store.list() == ["a/1", "a/b/2", "ab/3", "c"]
    assert store.list("a") == ["a/1", "a/b/2", "ab/3"]
    assert store.list("a/b/") == ["a/b/2"]
    assert store.list("nothing/at/all") == []
    entries = {e.key: e for e in store.entries("a/")}
    assert {k: e.size for k, e in entries.items()} == {"a/1": 1, "a/b/2": 2}
    assert all(abs(e.modified - before) < 60 for e in entries.values())


def test_only_the_first_of_two_new_puts_counts(store) -> None:
    assert store.put_new("once", b"1")
    assert not store.put_new("once", b"2")
    assert store.put_many({"once": b"3", "twice": b"3"}, new=True) == ["once"]
    assert (store.get("once"), store.get("twice")) == (b"1", b"3")


def test_of_many_that_swap_at_once_one_wins(store) -> None:
    store.put("k", b"old")
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda i: store.swap("k", b"old", b"%d" % i), range(8)))
    assert sum(won) == 1
    assert store.get("k") == b"%d" % won.index(True)
    assert not store.swap("k", b"old", b"new")
    assert not store.swap("nothing", b"old", b"new")
    assert not store.exists("nothing")


def test_trees_travel_whole(store, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "x").write_bytes(b"x")
    (tmp_path / "in" / "deep" / "y").write_bytes(b"y" * 1000)
    (tmp_path / "in" / "empty").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    put_tree(tmp_path / "in", store, "tree", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    get_tree(store, "tree", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "y").read_bytes() == b"y" * 1000
    assert (tmp_path / "out" / "empty").read_bytes() == b""
    with pytest.raises(MissingObjectError):
        get_tree(store, "nothing", tmp_path / "none")


def test_large_objects_travel_in_parts(store, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(s3, "PART", 5 << 20)
    data = np.random.default_rng(0).bytes((12 << 20) + 7)
    (tmp_path / "large").write_bytes(data)
    store.put("bytes", data)
    store.put_file("file", tmp_path / "large")
    assert store.get("bytes") == store.get("file") == data
    assert store.digest("file") == store.digest("bytes")
    store.get_file("bytes", tmp_path / "back" / "again")
    assert (tmp_path / "back" / "again").read_bytes() == data
    assert (tmp_path / "large").exists()


def test_a_file_that_may_be_used_up_is_renamed_into_a_local_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    with store.scratch("a") as folder:
        (folder / "file").write_bytes(b"data")
        same = (folder / "file").stat().st_ino
        assert store.list() == []  # what is being written is not there yet
        store.put_file("a/file", folder / "file", move=True)
    assert (tmp_path / "store/a/file").stat().st_ino == same
    assert store.list() == ["a/file"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_says_who_may_read_a_local_store(tmp_path: Path, mask: int, mode: int) -> None:
    """Other users read a shared cache; files that their writer kept to itself are moved there."""
    store = LocalStore(tmp_path / "store")
    before = os.umask(mask)
    try:
        store.put("put", b"1")
        store.put_new("new", b"1")
        store.swap("put", b"1", b"2")
        for name, move in (("copied", False), ("moved", True)):
            with store.scratch() as folder:
                (folder / name).write_bytes(b"1")
                (folder / name).chmod(0o600)  # as safetensors does
                store.put_file(name, folder / name, move=move)
    finally:
        os.umask(before)
    modes = {k: (store.root / k).stat().st_mode & 0o777 for k in store.list()}
    assert modes == dict.fromkeys(("copied", "moved", "new", "put"), mode)
    assert sorted(p.name for p in store.root.iterdir()) == [".guard", *modes]


@pytest.mark.parametrize("code", ["EPERM", "ENOSYS", "EOPNOTSUPP", "EMLINK"])
def test_without_hard_links_the_first_of_two_new_puts_counts_too(
    tmp_path: Path, monkeypatch, code: str
) -> None:
    def refuse(source: str, target: Path) -> None:
        raise OSError(getattr(errno, code), "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = LocalStore(tmp_path)
    assert store.put_new("once", b"1")
    assert not store.put_new("once", b"2")
    assert store.get("once") == b"1"
    assert store.list() == ["once"]


def test_a_disk_that_fails_is_not_taken_for_one_without_hard_links(
    tmp_path: Path, monkeypatch
) -> None:
    def fail(source: str, target: Path) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(UserError, match="broken"):
        LocalStore(tmp_path).put_new("once", b"1")


def test_damage_on_disk_is_found_on_reading(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("probe", b"1")
    if "user.sha256" not in getattr(os, "listxattr", lambda p: [])(tmp_path / "probe"):
        pytest.skip("no extended attributes here; manifests and seals check instead")
    for key in ("put", "file"):
        store.put(key, b"right")
    (tmp_path / "x").write_bytes(b"right")
    store.put_file("file", tmp_path / "x")
    for key in ("put", "file"):
        (tmp_path / key).write_bytes(b"wrong")
        with pytest.raises(DamagedObjectError, match=key):
            store.get(key)
        with pytest.raises(DamagedObjectError, match=key):
            store.get_file(key, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        store.put(key, b"mended")
        assert store.get(key) == b"mended"


def test_damage_on_s3_is_found_on_reading(s3_url: str, tmp_path: Path) -> None:
    import boto3

    store = open_store(s3_url)
    store.put("k", b"right")
    boto3.client("s3").put_object(
        Bucket=store.bucket,
        Key=f"{store.prefix}/k",
        Body=b"wrong",
        Metadata=store._head("k")["Metadata"],
    )
    time_sleep, s3.time.sleep = s3.time.sleep, lambda seconds: None
    try:
        with pytest.raises(DamagedObjectError, match="k is not"):
            store.get("k")
    finally:
        s3.time.sleep = time_sleep
    with pytest.raises(DamagedObjectError, match="k is not"):
        store.get_file("k", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "key",
    ["", "/a", "../a", "a/../b", "a//b", "a\\b", "a\0b", ".", "a/.", ".writing-x", "a/.guard"],
)
def test_keys_cannot_leave_the_store(key: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for call in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(ValueError, match="unsafe"):
            call()
    if key:
        with pytest.raises(ValueError, match="unsafe"):
            store.list(f"{key}/")


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_safe_key_stays_below_the_root(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        return
    assert Path("/root/store").joinpath(key).resolve().is_relative_to("/root/store")


def test_readers_never_see_half_an_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    values = [bytes([i]) * 200_000 for i in range(4)]
    store.put("k", values[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for value in values:
                store.put_many({"k": value}, lasting=False)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.get("k") in values for _ in range(200))
    finally:
        stop.set()
        writer.join()


def test_what_a_killed_writer_left_is_swept_and_never_listed(tmp_path: Path) -> None:
    code = (
        "import os,sys; from zppo_core.store.local import LocalStore, os as os_\n"
        f"store = LocalStore({str(tmp_path)!r})\n"
        "os.replace = lambda *a: os.kill(os.getpid(), 9)\n"
        "with store.scratch('a') as folder:\n"
        "    (folder / 'big').write_bytes(b'x')\n"
        "    store.put('a/k', b'data')"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    store = LocalStore(tmp_path)
    store.put("a/sound", b"")
    assert len(list((tmp_path / "a").iterdir())) == 3
    assert store.list() == ["a/sound"]
    assert store.sweep("a") == 0  # it may still be alive
    assert store.sweep("a", older=-1.0) == 2
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["sound"]


def test_uploads_that_a_killed_writer_left_are_swept(s3_url: str) -> None:
    store = open_store(s3_url)
    store._client.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}/a/big")
    store._client.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}/ab/big")
    assert store.sweep("a", older=1e10) == 0
    assert store.sweep("a") == 1  # the server dates every upload to 2010
    assert store.sweep() == 1
    assert store.sweep() == 0


def test_the_first_error_stops_parallel_work() -> None:
    done = []

    def work(i: int) -> None:
        if i == 0:
            raise ValueError("first")
        time.sleep(0.002)
        done.append(i)

    with pytest.raises(ValueError, match="first"):
        in_parallel(work, range(1000))
    assert len(done) < 100


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="resume") as error:
        LocalStore(tmp_path / "file").put("k", b"")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["", "http://x/y", "s3://"])
def test_a_store_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        open_store(url)


@pytest.mark.parametrize("place", ["AWS_ENDPOINT_URL", "METAFLOW_S3_ENDPOINT_URL"])
def test_the_endpoint_comes_from_the_environment(monkeypatch, place: str) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "METAFLOW_S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(place, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert open_store("s3://abc/d")._client.meta.endpoint_url == "http://127.0.0.1:9"
