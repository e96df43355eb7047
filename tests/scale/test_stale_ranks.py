"""Plain rollouts while ranks update: the records of a run that samples before the update."""

from __future__ import annotations

import threading
from pathlib import Path

import ranks

from zppo_core.config import load
from zppo_core.records.schema import decode
from zppo_core.run import session
from zppo_core.run.loop import advance
from zppo_core.run.setup import open_run

SETS = {
    "run.rollout_steps": 2,
    "data.train_questions": 16,
    "rollout.new_prompts": 8,
    "rollout.max_tokens": 24,
    "optimizer.updates": 2,
    "optimizer.lr": 1e-3,
    "store.checkpoint_every": 2,
    "compute.threads": 1,
    "compute.update_processes": 2,
    "compute.staleness": 1,
    "loss.importance_cap": 2,
}


def records(folder: Path) -> dict[str, list[dict]]:
    """Rollouts and updates of two steps, without times."""
    places = {"store.root": folder, "store.cache": folder / "cache", "store.database": folder / "d"}
    config = load("nano", [f"{k}={v}" for k, v in {**SETS, **places}.items()])
    run = open_run(config, "test").with_steps(2)
    assert advance(run, 0) == 2
    return {
        f"{step}/{unit}": [
            {k: v for k, v in row.items() if k not in ("run_key", "seconds")}
            for row in decode(
                table, (run.journal.read(f"step-{step:06d}/{unit}") or {})[f"{table}.parquet"]
            ).to_pylist()
        ]
        for step in range(2)
        for unit, table in (("plain", "rollouts"), ("augmented", "rollouts"), ("update", "updates"))
    }


def test_two_ranks_update_while_the_student_samples(tmp_path, monkeypatch) -> None:
    ranks.start()
    threads, stream = set(), session.TimedEngine.stream

    def seen(self, *arguments):
        if self.role == "student":
            threads.add(threading.current_thread().name)
        return stream(self, *arguments)

    monkeypatch.setattr(session.TimedEngine, "stream", seen)
    beside = records(tmp_path / "beside")
    assert "background" in threads
    threads.clear()
    monkeypatch.setattr(session, "overlaps", lambda config, workers: False)
    before = records(tmp_path / "before")
    assert threads == {"MainThread"}
    assert beside == before
    assert {row["version"] for row in beside["1/plain"]} == {0}
    assert beside["1/update"]
