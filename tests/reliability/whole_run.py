"""A whole run in this process, step after step as flows/zppo_flow.py calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.aggregate import aggregate
from steps.cache_teacher import cache_teacher
from steps.epoch import epoch
from steps.evaluate import evaluate, plan
from steps.prepare_data import prepare_data, settled
from steps.start import open_run
from zppo_core.run.spec import Artifact

SMALL = {
    "run.rollout_steps": 2, "run.steps_per_task": 2, "data.train_questions": 24,
    "rollout.new_prompts": 8, "rollout.group_size": 4, "rollout.max_tokens": 24,
    "reformulation.ratio": 0.5, "replay.ratio": 0.5, "optimizer.updates": 2,
    "store.checkpoint_every": 1, "teacher.prefill": 0, "evaluation.suite": "nano_text",
    "evaluation.limit": 3, "evaluation.max_tokens": 24, "compute.threads": 1,
}  # fmt: skip


def opened(folder: Path, sets: dict[str, Any] | None = None, method: str = "zppo",
           name: str = "run") -> Artifact:  # fmt: skip
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
