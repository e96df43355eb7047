import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.errors import UserError
from zppo_core.store.checkpoint import (
    latest_checkpoint,
    read_optimizer,
    save_checkpoint,
    steps,
    weight_hash,
    write_optimizer,
)
from zppo_core.store.journal import Journal
from zppo_core.store.lock import RunLock
from zppo_core.store.objects import (
    DamagedObjectError,
    LocalStore,
    MissingObjectError,
    check_key,
    get_tree,
    open_store,
    put_content,
    put_tree,
)


@pytest.fixture(scope="module")
def s3_url():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import boto3

        boto3.client("s3").create_bucket(Bucket="zppo-test")
        yield "s3://zppo-test/some/where"
    server.stop()


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path: Path):
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    url = request.getfixturevalue("s3_url")
    return open_store(f"{url}/{request.node.name.replace('[', '-').strip(']')}")


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
    with pytest.raises(MissingObjectError):
        store.get("a/c")


def test_only_the_first_of_two_new_puts_counts(store) -> None:
    assert store.put_new("once", b"1")
    assert not store.put_new("once", b"2")
    assert store.get("once") == b"1"


def test_trees_travel_whole(store, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "x").write_bytes(b"x")
    (tmp_path / "in" / "deep" / "y").write_bytes(b"y" * 1000)
    seen: list[tuple[int, int]] = []
    put_tree(tmp_path / "in", store, "tree", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    get_tree(store, "tree", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "y").read_bytes() == b"y" * 1000
    with pytest.raises(MissingObjectError):
        get_tree(store, "nothing", tmp_path / "none")


def test_content_keys_are_the_contents_hash(store) -> None:
    key = put_content(store, b"hello")
    assert put_content(store, b"hello") == key
    assert store.get(key) == b"hello"
    assert store.list("content/") == [key]


def test_large_objects_go_to_s3_in_parts(s3_url: str) -> None:
    store = open_store(f"{s3_url}/large")
    data = np.random.default_rng(0).bytes(40 << 20)
    store.put("large", data)
    assert store.get("large") == data


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", "a\\b", "a\0b", ".", "a/."])
def test_keys_cannot_leave_the_store(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unsafe"):
        LocalStore(tmp_path).put(key, b"")


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_safe_key_stays_below_the_root(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        return
    assert Path("/root/store").joinpath(key).resolve().is_relative_to("/root/store")


def test_a_server_that_stumbles_is_asked_again(s3_url: str, monkeypatch) -> None:
    from botocore.exceptions import ClientError, ConnectionClosedError

    store = open_store(f"{s3_url}/stumbling")
    store.put("k", b"value")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    real, calls = store._client.get_object, []

    class Cut:
        def read(self) -> bytes:
            return b"val"

    def stumbling(**arguments):
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionClosedError(endpoint_url="x")
        if len(calls) == 2:
            error = {"Error": {"Code": "503"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
            raise ClientError(error, "GetObject")
        answer = real(**arguments)
        if len(calls) == 3:
            answer["Body"] = Cut()  # a body cut short, its checksum does not hold
        return answer

    monkeypatch.setattr(store._client, "get_object", stumbling)
    assert store.get("k") == b"value"
    assert len(calls) == 4


def test_a_server_that_stays_away_is_one_clear_line(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(UserError, match="resume") as error:
        open_store("s3://zppo-test/x").put("k", b"")
    assert "\n" not in str(error.value)


def test_a_unit_exists_once_its_manifest_does(store) -> None:
    journal = Journal(store, "run/journal")
    assert journal.read("step-000000/plain") is None
    journal.commit("step-000000/plain", {"a.json": b"1", "b.parquet": b"2"})
    journal.commit("step-000000/plain", {"a.json": b"1", "b.parquet": b"2"})
    assert journal.read("step-000000/plain") == {"a.json": b"1", "b.parquet": b"2"}
    with pytest.raises(UserError, match="other content"):
        journal.commit("step-000000/plain", {"a.json": b"other"})
    journal.commit("step-000001/plain", {"a": b""})
    assert journal.units() == ["step-000000/plain", "step-000001/plain"]
    assert journal.units("step-000001") == ["step-000001/plain"]


def test_files_without_a_manifest_are_no_unit(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path), "j")
    journal.commit("u", {"f": b"1"})
    (tmp_path / "j/u/manifest.json").unlink()
    assert journal.read("u") is None
    assert journal.units() == []
    journal.commit("u", {"f": b"2"})  # the phase is computed again and may differ
    assert journal.read("u") == {"f": b"2"}


@pytest.mark.parametrize("how", ["torn", "gone", "manifest"])
def test_damage_is_refused_by_name(tmp_path: Path, how: str) -> None:
    journal = Journal(LocalStore(tmp_path), "")
    journal.commit("step-000007/plain", {"f.parquet": b"1234"})
    file = tmp_path / "step-000007/plain/f.parquet"
    if how == "torn":
        file.write_bytes(b"12")
    elif how == "gone":
        file.unlink()
    else:
        (tmp_path / "step-000007/plain/manifest.json").write_bytes(b"{")
    with pytest.raises(DamagedObjectError, match="step-000007/plain"):
        journal.read("step-000007/plain")


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="resume"):
        LocalStore(tmp_path / "file").put("k", b"")


def test_a_second_writer_is_turned_away_and_a_dead_one_replaced(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with (
        RunLock(store, "run"),
        pytest.raises(UserError, match=str(os.getpid())),
        RunLock(store, "run"),
    ):
        pass
    assert not store.exists("run/lock.json")
    code = (
        "import os,sys; from zppo_core.store.lock import RunLock; "
        "from zppo_core.store.objects import LocalStore; "
        f"RunLock(LocalStore({str(tmp_path)!r}), 'run').__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert store.exists("run/lock.json")
    with RunLock(store, "run"):
        assert json.loads(store.get("run/lock.json"))["pid"] == os.getpid()


def test_a_silent_holder_elsewhere_is_replaced_after_a_while(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    holder = {"token": "x", "pid": 1, "host": "elsewhere", "started": "1"}
    store.put("run/lock.json", json.dumps({**holder, "time": time.time()}).encode())
    with pytest.raises(UserError, match="elsewhere"), RunLock(store, "run"):
        pass
    store.put("run/lock.json", json.dumps({**holder, "time": time.time() - 1000}).encode())
    with RunLock(store, "run"):
        pass


def write(content: str):
    return lambda folder: (folder / "state.json").write_text(content)


def test_the_newest_sound_checkpoint_is_taken(store) -> None:
    assert latest_checkpoint(store, "run") is None
    for step in (4, 8, 12):
        save_checkpoint(store, "run", step, write(f"at {step}"), keep=2)
    assert steps(store, "run") == [8, 12]
    found = latest_checkpoint(store, "run")
    assert found is not None
    assert (found.step, found.read("state.json")) == (12, b"at 12")
    store.put("run/checkpoints/step-000012/state.json", b"damaged")
    with pytest.warns(UserWarning, match="step 12 is damaged"):
        found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.read("state.json") == b"at 8"


def test_a_half_written_checkpoint_does_not_exist(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    save_checkpoint(store, "run", 4, write("whole"), keep=2)

    def die(folder: Path) -> None:
        (folder / "state.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(store, "run", 8, die, keep=2)
    store.put("run/checkpoints/step-000008/state.json", b"half")  # copied, no manifest yet
    found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.step == 4


def test_the_optimizer_returns_bit_for_bit(tmp_path: Path) -> None:
    def model_and_optimizer():
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 3)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-3)

    def train(model, optimizer, steps: int) -> None:
        for i in range(steps):
            optimizer.zero_grad()
            model(torch.arange(5.0) + i).square().sum().backward()
            optimizer.step()

    model, optimizer = model_and_optimizer()
    train(model, optimizer, 3)
    store = LocalStore(tmp_path)
    names = {p: n for n, p in model.named_parameters()}
    save_checkpoint(store, "", 3, lambda f: write_optimizer(f, optimizer, names), keep=1)
    other, again = model_and_optimizer()
    other.load_state_dict(model.state_dict())
    found = latest_checkpoint(store, "")
    assert found is not None
    read_optimizer(found, again, dict(other.named_parameters()))
    train(model, optimizer, 3)
    train(other, again, 3)
    assert weight_hash(model.named_parameters()) == weight_hash(other.named_parameters())


def test_the_weight_hash_sees_names_values_and_types() -> None:
    tensor = torch.arange(4.0)
    base = weight_hash([("a", tensor)])
    assert base == weight_hash([("a", tensor.clone())])
    assert base != weight_hash([("b", tensor)])
    assert base != weight_hash([("a", tensor + 1)])
    assert base != weight_hash([("a", tensor.double())])
    assert base != weight_hash([("a", tensor.reshape(2, 2))])
