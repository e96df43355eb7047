"""Networks that cut, servers that are busy, stores that turn read-only in the middle of a run."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from faulty_proxy import WRITES, FaultyProxy, after, first

from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.protocols import Sampling
from zppo_core.store import s3
from zppo_core.store.checkpoint import latest_checkpoint, save_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.lock import RunLock
from zppo_core.store.objects import DamagedObjectError, S3Store
from zppo_core.store.teacher_cache import DrawRequest, TeacherCache
from zppo_core.types import Prompt


@pytest.fixture(scope="module")
def proxy(s3_endpoint: str):
    proxy = FaultyProxy(s3_endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def remote(proxy: FaultyProxy, request, monkeypatch):
    monkeypatch.setattr(s3, "FIRST_PAUSE", 0.001)
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    yield S3Store("zppo-test", f"faults/{name}", proxy.url)
    proxy.plan = lambda method, path: None


@pytest.mark.parametrize("fault", ["cut", "lost", "busy"])
def test_a_fault_of_writing_is_tried_again(remote, proxy, fault: str) -> None:
    proxy.plan, proxy.asked = first(3, fault, WRITES), []
    remote.put("k", b"value" * 1000)
    assert [f for _, f in proxy.asked] == [fault] * 3 + [None]
    assert remote.get("k") == b"value" * 1000


@pytest.mark.parametrize("fault", ["cut", "lost", "busy", "short", "garbled"])
@pytest.mark.parametrize("size", [1000, 11 << 20])
def test_a_fault_of_reading_is_tried_again(
    remote, proxy, fault: str, size: int, tmp_path: Path, monkeypatch
) -> None:
    data = random.Random(0).randbytes(size)
    remote.put("k", data)
    proxy.plan, proxy.asked = first(2, fault, ("GET",)), []
    assert remote.get("k") == data
    assert [f for _, f in proxy.asked] == [fault] * 2 + [None]
    if fault == "garbled":  # a part has no checksum of its own: the whole is refused at the end
        return
    monkeypatch.setattr(s3, "PART", 5 << 20)
    proxy.plan = first(2, fault, ("GET",))
    remote.get_file("k", tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == data
    proxy.plan = first(2, fault, ("GET",))
    assert remote.digest("k") == remote.digest("k")


def test_a_garbled_file_never_stays(remote, proxy, tmp_path: Path) -> None:
    remote.put("k", b"value" * 1000)
    proxy.plan = after(0, "garbled", ("GET",))
    for read in (lambda: remote.get_file("k", tmp_path / "k"), lambda: remote.get("k")):
        with pytest.raises(DamagedObjectError, match="k is not what was put"):
            read()
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("fault", ["cut", "lost", "busy"])
def test_parts_of_a_large_object_are_tried_again(remote, proxy, fault: str, monkeypatch) -> None:
    monkeypatch.setattr(s3, "PART", 5 << 20)
    data = random.Random(0).randbytes(11 << 20)
    turn = iter(range(10**6))
    proxy.plan = lambda method, path: (
        fault if method in ("PUT", "POST") and next(turn) % 2 == 0 else None
    )
    remote.put("large", data)
    proxy.plan = lambda method, path: None
    assert remote.get("large") == data


@pytest.mark.parametrize("fault", ["cut", "lost", "busy"])
def test_a_lost_answer_does_not_make_us_a_second_writer(remote, proxy, fault: str) -> None:
    """The write was done and its answer lost: the repeated one is refused, by our own content."""
    proxy.plan = first(1, fault, ("PUT",))
    assert remote.put_new("k", b"ours")
    assert not remote.put_new("k", b"theirs")
    proxy.plan = first(1, fault, ("PUT",))
    assert remote.swap("k", b"ours", b"ours again")
    proxy.plan = first(1, fault, ("PUT",))
    with RunLock(remote, "run"):
        with pytest.raises(UserError, match=str(os.getpid())), RunLock(remote, "run"):
            pass
        proxy.plan = first(1, fault, ("DELETE",))
    assert not remote.exists("run/lock.json")
    proxy.plan = first(1, fault, ("PUT",))
    Journal(remote, "j").commit("u", {"f": b"1"})
    assert Journal(remote, "j").read("u") == {"f": b"1"}


@pytest.mark.parametrize("fault", ["cut", "busy", "denied"])
def test_a_fault_that_stays_is_one_clear_line(remote, proxy, fault: str) -> None:
    proxy.plan, proxy.asked = after(0, fault, ("GET", *WRITES)), []
    for call in (lambda: remote.put("k", b""), lambda: remote.get("k"), remote.list):
        with pytest.raises(UserError, match="resume") as error:
            call()
        assert "\n" not in str(error.value)
    assert len(proxy.asked) == 3 * (1 if fault == "denied" else s3.ATTEMPTS)


@pytest.mark.parametrize("refused", ["the list", "the end"])
def test_without_the_right_to_sweep_a_checkpoint_is_written_with_one_warning(
    remote, proxy, refused: str
) -> None:
    """s3:ListBucketMultipartUploads and s3:AbortMultipartUpload are rights of their own."""
    remote._client.create_multipart_upload(
        Bucket=remote.bucket, Key=f"{remote.prefix}/run/checkpoints/big"
    )
    asks = {"the list": ("GET", "?uploads"), "the end": ("DELETE", "uploadId=")}
    method, query = asks[refused]
    proxy.plan = lambda m, path: "denied" if m == method and query in path else None
    with pytest.warns(UserWarning, match=r"checkpoints.* stays \(cannot .*denied") as warned:
        save_checkpoint(remote, "run", 1, partial(write, "1"), 1)
    assert len(warned) == 1
    assert "\n" not in str(warned[0].message)
    found = latest_checkpoint(remote, "run")
    assert found is not None
    assert found.read("state") == b"1"
    proxy.plan = first(2, "busy", ("DELETE",))
    assert remote.sweep("run") == 1  # the server dates every upload to 2010


def test_a_bucket_that_is_not_there_is_one_clear_line(proxy, monkeypatch) -> None:
    store = S3Store("zppo-absent", "x", proxy.url)
    for call in (
        lambda: store.put("k", b""),
        lambda: store.put_new("k", b""),
        lambda: store.get("k"),
        store.list,
    ):
        with pytest.raises(UserError, match="bucket"):
            call()


def test_without_credentials_nothing_is_tried_twice(proxy, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    proxy.asked = []
    with pytest.raises(UserError, match="credentials"):
        S3Store("zppo-test", "x", proxy.url).put("k", b"")
    assert proxy.asked == []


STEPS = 3


def run(store) -> list[int]:
    """A little run: lock, teacher draws, journal, checkpoints. The steps computed, not read back.

    What a step computes has its own time in it, as real ones do: no two computations are the same.
    """
    computed = []
    with RunLock(store, "run"):
        journal = Journal(store, "run/journal")
        found = latest_checkpoint(store, "run")
        state = [] if found is None else found.read("state").decode().split()
        for step in range(len(state), STEPS):
            files = journal.read(f"step-{step:06d}/plain")
            if files is None:
                request = DrawRequest(f"q{step}", Prompt(f"q{step}"), 0)
                engine = ScriptedEngine(lambda prompt, member: f"{prompt.text} {member}")
                ((draw,),) = TeacherCache(store, "cache").draws([request], engine, Sampling(64))
                files = {
                    "groups": draw.text.replace(" ", "-").encode(),
                    "seconds": os.urandom(8),
                }
                journal.commit(f"step-{step:06d}/plain", files)
                computed.append(step)
            state.append(files["groups"].decode())
            if step != 1:
                save_checkpoint(store, "run", step + 1, partial(write, " ".join(state)), 1)
    return computed


def write(state: str, folder: Path) -> None:
    (folder / "state").write_text(state)


def outcome(store) -> tuple[bytes, list[bytes]]:
    found = latest_checkpoint(store, "run")
    assert found is not None
    journal = Journal(store, "run/journal")
    units = [journal.read(unit) for unit in journal.units()]
    return found.read("state"), [u["groups"] for u in units if u is not None]


@pytest.mark.parametrize("fault", ["denied", "cut"])
def test_a_store_that_turns_read_only_at_any_write_loses_nothing(
    remote, proxy, fault: str, monkeypatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    whole = S3Store("zppo-test", remote.prefix + "/whole", proxy.url)
    proxy.asked = []
    assert run(whole) == list(range(STEPS))
    writes = sum(method in WRITES for method, _ in proxy.asked)
    assert writes > 20
    for broken in range(0, writes, 1 if fault == "denied" else 4):
        store = S3Store("zppo-test", f"{remote.prefix}/{broken}", proxy.url)
        proxy.plan = after(broken, fault)
        journal = Journal(store, "run/journal")
        if broken < writes - 1:
            with pytest.raises(UserError, match=r"^.*resume.*$"):
                run(store)
        else:  # only the lock was left to give back
            run(store)
        proxy.plan = lambda method, path: None
        kept = {unit: journal.read(unit) for unit in journal.units()}
        if store.exists("run/lock.json"):  # its holder, this process, lives: as if it had ended
            store.delete("run/lock.json")
        computed = run(store)
        assert not {f"step-{s:06d}/plain" for s in computed} & set(kept)
        assert all(journal.read(unit) == files for unit, files in kept.items())
        assert outcome(store) == outcome(whole)


SCRIPT = """
import os, sys
from zppo_core.errors import UserError
from zppo_core.store.journal import Journal
from zppo_core.store.lock import RunLock
from zppo_core.store.objects import LocalStore
if os.getuid() == 0:  # nothing is read-only to root
    os.setgid(65534)
    os.setuid(65534)
store = LocalStore(sys.argv[1])
try:
    with RunLock(store, "run"):
        journal = Journal(store, "run/journal")
        for step in range(6):
            unit = f"step-{step:06d}/plain"
            if journal.read(unit) is None:
                journal.commit(unit, {"f": b"%d" % step})
                print("computed", step, flush=True)
                sys.stdin.readline()
except UserError as error:
    sys.exit(f"zppo: {error}")
"""


def test_a_folder_that_turns_read_only_in_mid_run_loses_nothing() -> None:
    """A real process without root's powers; after its third step the folder is closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="zppo-readonly-"))
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def close(mode: int) -> None:
        for place in sorted([folder, *folder.rglob("*")]):
            if place.is_dir():
                place.chmod(mode)

    try:
        child = start()
        assert child.stdin is not None
        assert child.stdout is not None
        for step in range(3):
            line = child.stdout.readline()
            assert line == f"computed {step}\n", child.communicate()[1]
            if step == 2:
                close(0o555)
            child.stdin.write("\n")
            child.stdin.flush()
        _, fault = child.communicate(timeout=30)
        assert child.returncode == 1
        assert len(fault.strip().splitlines()) == 1
        assert "Permission denied" in fault
        assert "resume" in fault
        close(0o755)
        child = start()
        out, fault = child.communicate("\n" * 6, timeout=30)
        assert (child.returncode, fault) == (0, "")
        assert out == "".join(f"computed {step}\n" for step in (3, 4, 5))
    finally:
        close(0o755)
        shutil.rmtree(folder, ignore_errors=True)
