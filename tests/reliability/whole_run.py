"""A whole run in this process, step after step as flows/zppo_flow.py calls them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from steps.aggregate import aggregate
from steps.cache_teacher import cache_teacher
from steps.epoch import epoch
from steps.evaluate import evaluate, plan
from steps.prepare_data import prepare_data, settled
from steps.start import open_run
from zppo_core.config import Config
from zppo_core.records.schema import encode
from zppo_core.run.spec import Artifact

SMALL = {
    "run.rollout_steps": 2,
    "run.steps_per_task": 2,
    "data.train_questions": 24,
    "rollout.new_prompts": 8,
    "rollout.group_size": 4,
    "rollout.max_tokens": 24,
    "reformulation.ratio": 0.5,
    "replay.ratio": 0.5,
    "optimizer.updates": 2,
    "store.checkpoint_every": 1,
    "teacher.prefill": 0,
    "evaluation.suite": "nano_text",
    "evaluation.limit": 3,
    "evaluation.max_tokens": 24,
    "compute.threads": 1,
}


def opened(
    folder: Path, sets: dict[str, Any] | None = None, method: str = "zppo", name: str = "run"
) -> Artifact:
    """A small run below `folder`, ready to train."""
    own = {"store.root": folder / "runs", "store.database": folder / "db.duckdb"}
    text = ";".join(f"{k}={v}" for k, v in {**SMALL, **own, **(sets or {})}.items())
    setup = open_run("nano", method, "0", text, "1", name)
    prepare_data(setup)
    return settled(setup)


def trained(setup: Artifact) -> int:
    """Every rollout step, task by task."""
    done = 0
    while done < setup["rollout_steps"]:
        done = epoch(setup, done)
    return done


def concluded(setup: Artifact) -> dict[str, Any]:
    """Evaluation and the database: the run's summary."""
    for item in plan(setup):
        evaluate(setup, item)
    return aggregate(setup)


def whole(folder: Path, sets: dict[str, Any] | None = None, method: str = "zppo") -> dict[str, Any]:
    """All of it."""
    setup = opened(folder, sets, method)
    cache_teacher(setup)
    trained(setup)
    return concluded(setup)


class MemoryJournal(dict[str, dict[str, bytes]]):
    """A journal in memory."""

    def units(self, prefix: str = "") -> list[str]:
        return sorted(unit for unit in self if unit.startswith(prefix))

    def read(self, unit: str) -> dict[str, bytes] | None:
        return self.get(unit)


def database_journal(key: str = "a", steps: int = 40) -> MemoryJournal:
    """The tables of a run of `steps` rollout steps, without a model."""
    row = {
        "run_key": key,
        "created_at": datetime(2026, 1, 1),
        "scale": "nano",
        "method": "zppo",
        "seed": 0,
        "config_json": Config().to_json(),
        "code_version": "x",
        "machine": "x",
        "student_model": "nano:student",
        "student_params": 1,
        "base_model_key": "base",
    }
    journal = MemoryJournal({"run": {"runs.parquet": encode("runs", [row])}})
    for step in range(steps):
        phases = [
            {"run_key": key, "step": step, "phase": f"phase {i}", "seconds": 1.0 + i * step}
            for i in range(50)
        ]
        journal[f"step-{step:06d}/plain"] = {"phases.parquet": encode("phases", phases)}
    return journal
