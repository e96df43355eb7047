import hashlib
import json
import multiprocessing
import re
import time
from pathlib import Path

import pytest

from zppo_core.errors import UserError
from zppo_core.store.journal import Journal
from zppo_core.store.objects import DamagedObjectError, LocalStore


def test_a_unit_exists_once_its_manifest_does(store) -> None:
    journal = Journal(store, "run/journal")
    assert journal.read("step-000000/plain") is None
    journal.commit("step-000000/plain", {"a.json": b"1", "b.parquet": b"2"})
    journal.commit("step-000000/plain", {"a.json": b"1", "b.parquet": b"2"})
    assert journal.read("step-000000/plain") == {"a.json": b"1", "b.parquet": b"2"}
    for other in ({"a.json": b"other"}, {"a.json": b"1"}, {}):
        with pytest.raises(UserError, match="other content"):
            journal.commit("step-000000/plain", other)
    journal.commit("step-000001/plain", {"a": b""})
    assert journal.units() == ["step-000000/plain", "step-000001/plain"]
    assert journal.units("step-000001") == ["step-000001/plain"]
    manifest = journal.manifest("step-000001/plain")
    assert manifest == {"files": {"a": hashlib.sha256(b"").hexdigest()}}


def test_units_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path), "j")
    for unit in ("a-b", "a", "a/b", "a.b"):
        journal.commit(unit, {"f": b"1"})
    assert journal.units() == ["a", "a-b", "a.b", "a/b"]
    assert journal.read("a") == {"f": b"1"}


def test_files_without_a_manifest_are_no_unit(store) -> None:
    journal = Journal(store, "j")
    journal.commit("u", {"f": b"1", "g": b"1"})
    store.delete("j/u/manifest.json")
    assert journal.read("u") is None
    assert journal.units() == []
    # the phase is computed again and may differ, its time for instance
    journal.commit("u", {"f": b"2", "g": b"1"})
    assert journal.read("u") == {"f": b"2", "g": b"1"}
    journal.commit("u", {"f": b"2", "g": b"1"})


def test_the_manifests_name_is_not_a_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="manifest"):
        Journal(LocalStore(tmp_path), "").commit("u", {"deep/manifest.json": b"{}"})


@pytest.mark.parametrize("how", ["torn", "gone", "replaced", "manifest"])
def test_damage_is_refused_by_name(store, how: str) -> None:
    journal = Journal(store, "")
    journal.commit("step-000007/plain", {"f.parquet": b"1234"})
    if isinstance(store, LocalStore) and how == "torn":
        (store.root / "step-000007/plain/f.parquet").write_bytes(b"12")
    elif how in ("torn", "replaced"):
        store.put("step-000007/plain/f.parquet", b"12")
    elif how == "gone":
        store.delete("step-000007/plain/f.parquet")
    else:
        store.put("step-000007/plain/manifest.json", b"{")
    with pytest.raises(DamagedObjectError, match="step-000007/plain") as error:
        journal.read("step-000007/plain")
    # what the text says to do helps
    named = re.search(r"; delete (\S+), then the unit is computed again$", str(error.value))
    assert named is not None
    store.delete(named.group(1).removeprefix(f"{store.url}/"))
    assert journal.read("step-000007/plain") is None
    journal.commit("step-000007/plain", {"f.parquet": b"5678"})
    assert journal.read("step-000007/plain") == {"f.parquet": b"5678"}


MANIFESTS = (
    "{}",
    "[]",
    "null",
    "7",
    '{"files": {"f": ',
    "",
    '{"files": []}',
    '{"files": null}',
    '{"files": {"../f": "x"}}',
    '{"files": {"f": 7}}',
    '{"files": {}, "at": []}',
    '{"files": {"f": "x"}, "at": {"f": "../../x"}}',
    "[" * 100_000,
)


@pytest.mark.parametrize("text", MANIFESTS)
def test_a_manifest_of_a_foreign_shape_is_damage(tmp_path: Path, text: str) -> None:
    journal = Journal(LocalStore(tmp_path), "j")
    journal.commit("u", {"f": b"1"})
    (tmp_path / "j/u/manifest.json").unlink()
    (tmp_path / "j/u/manifest.json").write_text(text)
    with pytest.raises(DamagedObjectError, match=r"manifest is damaged; delete .*j/u/manifest"):
        journal.read("u")


def test_results_that_runs_share_are_the_first_writers(tmp_path: Path) -> None:
    journal = Journal(LocalStore(tmp_path), "evaluations")
    assert journal.keep("base/vlm", {"scores": b"first"}) == {"scores": b"first"}
    assert journal.keep("base/vlm", {"scores": b"second"}) == {"scores": b"first"}
    assert journal.read("base/vlm") == {"scores": b"first"}


def _keep_all(folder: str, mark: bytes, start, results) -> None:
    journal = Journal(LocalStore(folder), "shared")
    start.wait()
    kept = [journal.keep(f"unit-{i}", {"a": mark * 50, "b": mark * 9000}) for i in range(25)]
    results.put(kept)


def test_two_processes_that_write_one_unit_cannot_tear_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results, start = context.Queue(), context.Event()
    workers = [
        context.Process(target=_keep_all, args=(str(tmp_path), mark, start, results))
        for mark in (b"1", b"2", b"3")
    ]
    for worker in workers:
        worker.start()
    time.sleep(0.5)
    start.set()
    outputs = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert outputs[0] == outputs[1] == outputs[2]
    journal = Journal(LocalStore(tmp_path), "shared")
    units = [journal.read(f"unit-{i}") for i in range(25)]
    assert units == outputs[0]
    assert all(u is not None and u["a"][:1] * 9000 == u["b"] for u in units)


def test_small_files_stand_in_the_manifest_and_either_way_is_read(tmp_path: Path) -> None:
    """One file for a unit of small ones; what was written before or after is the same unit."""
    files = {"a.json": b"{}", "b.parquet": bytes(range(256)) * 40, "c": b""}
    store = LocalStore(tmp_path)
    inside, apart = Journal(store, "x", 1000), Journal(store, "x")
    inside.commit("u", files)
    assert store.list("x/u") == ["x/u/b.parquet", "x/u/manifest.json"]
    assert inside.read("u") == apart.read("u") == files
    apart.commit("u", files)
    apart.commit("v", files)
    inside.commit("v", files)
    assert len(store.list("x/v")) == 4
    with pytest.raises(UserError, match="exists with other content"):
        inside.commit("u", files | {"c": b"other"})
    manifest = json.loads(store.get("x/u/manifest.json"))
    for content in ("AAAA", "no base64", "A"):
        manifest["small"]["a.json"] = content
        store.put("x/u/manifest.json", json.dumps(manifest).encode())
        with pytest.raises(DamagedObjectError, match=r"a\.json is damaged; delete .*manifest"):
            inside.read("u")
