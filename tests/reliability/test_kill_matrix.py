"""The first trials of `make kill-matrix`: SIGKILL in every step, and the end is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from whole_run import SMALL, concluded, opened, trained, whole

from zppo_core.run.setup import sweep_stores
from zppo_core.store.objects import LocalStore

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import kill_matrix  # noqa: E402

TRIALS = 2  # of some eight kills each


def test_a_run_that_is_killed_in_every_step_ends_bit_for_bit_as_one_that_never_was(
    tmp_path: Path, warm_python: str
) -> None:
    done = subprocess.run(
        [
            *(warm_python, "tools/kill_matrix.py", "--trials", str(TRIALS), "--ray", "0"),
            *("--folder", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    kills = [kill for trial in trials for kill in trial["kills"]]
    assert len(kills) >= 10
    assert {kill["step"] for kill in kills} == set(kill_matrix.STEPS)
    assert {kill["by"] for kill in kills} == {"operation", "instant"}
    assert all(kill["status"] == -9 and kill["outlived"] == 0 for kill in kills)
    whole_run = kill_matrix.digests(tmp_path / "one" / "whole")
    kinds = ("optimizer.safetensors", "model.safetensors", "state.json")
    assert all(any(name.endswith(kind) for name in whole_run) for kind in kinds)
    assert any(name.startswith("journal/step-000001/update/") for name in whole_run)
    assert "database/buffer_events" in whole_run


def test_the_comparison_sees_a_changed_bit_of_anything(tmp_path: Path) -> None:
    """Weights, optimizer, buffer, a unit of the journal, a row of the database."""
    whole(tmp_path, {"run.rollout_steps": 1, "store.cache": tmp_path / "cache"})
    before = kill_matrix.digests(tmp_path)
    run = tmp_path / "runs" / "run"
    files = [p for p in (run / "journal" / "step-000000").rglob("*") if p.is_file()]
    assert 5 <= len(files) <= 15  # one a phase, and those that are large
    for pattern in ("model.safetensors", "optimizer.safetensors", "state.json"):
        (path,) = run.rglob(pattern)
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        changed = kill_matrix.differing(before, kill_matrix.digests(tmp_path))
        assert [Path(name).name for name in changed] == [pattern]
        path.write_bytes(kept)
    import duckdb

    with duckdb.connect(str(tmp_path / "db.duckdb")) as connection:
        connection.execute("UPDATE rollouts SET reward = 1 - reward WHERE member = 0")
    assert "database/rollouts" in kill_matrix.differing(before, kill_matrix.digests(tmp_path))
    assert SMALL["compute.threads"] == 1


def test_what_killed_writers_left_is_swept_by_the_end_of_a_run(tmp_path: Path) -> None:
    """In the run's own folder and in the cache, once it is an hour old."""
    sets = {"run.rollout_steps": 1, "store.cache": tmp_path / "cache"}
    setup = opened(tmp_path, sets)
    trained(setup)
    concluded(setup)
    places = ["runs/run/journal/step-000000/plain", "runs/run/checkpoints", "cache/draws/ab"]
    old, new = [], []
    for place in places:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name, into in ((".writing-old", old), (".writing-new", new)):
            into.append(tmp_path / place / name)
            into[-1].write_text("half")
    before = time.time() - 4000
    for path in old:
        os.utime(path, (before, before))
    sweep_stores(setup)
    assert not [path for path in old if path.exists()]
    assert all(path.exists() for path in new)
    assert LocalStore(tmp_path / "runs").sweep(older=0.0) == 2


@pytest.mark.parametrize("text", ["# Page\n\nwords\n", "# Page\n"])
def test_the_table_goes_between_its_marks_and_leaves_the_rest(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    kill = {"step": "epoch", "by": "operation", "target": "task", "at": "open /runs/r/journal/x"}
    trial = {
        "kills": [kill | {"outlived": 0, "status": -9}],
        "differing": [],
        "left": [],
        "ray": False,
    }
    for _ in range(2):
        kill_matrix.page_tables.put(
            page, kill_matrix.BEGIN, kill_matrix.END, kill_matrix.table([trial])
        )
    written = page.read_text()
    assert written.startswith(text.strip())
    assert written.count("| epoch | 1 | 0 | 0 | 1 | 0 |") == 1
    assert "1 of 1 ended as the run that was never killed" in " ".join(written.split())
