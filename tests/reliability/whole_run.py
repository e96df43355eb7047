"""A whole run in this process, stage after stage, as `zppo_core.train` goes through them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from eval import scores
from eval.overlap import evaluation_signatures
from eval.preflight import check
from eval.report import database, tables
from eval.report.rows import Summary
from zppo_core.config import Config, load
from zppo_core.protocols import silent
from zppo_core.records.schema import encode
from zppo_core.run import corpus
from zppo_core.run.draws import draw_beforehand
from zppo_core.run.loop import advance
from zppo_core.run.preflight import check_stores
from zppo_core.run.setup import open_run
from zppo_core.run.spec import Run

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
) -> Run:
    """A small run below `folder`, ready to train; what is set counts as asked for."""
    places = {"store.root": folder / "runs", "store.database": folder / "db.duckdb"}
    fields = {**SMALL, "run.method": method, **places, **(sets or {})}
    config = load("nano", [f"{k}={v}" for k, v in fields.items()])
    check(config)
    run = open_run(config, "1", name, set(fields))
    check_stores(run)
    corpus.prepare(run, evaluation_signatures(config), silent)
    return corpus.settled(run)


def trained(run: Run) -> int:
    """Every rollout step, task by task."""
    done = 0
    while done < run.rollout_steps:
        done = advance(run, done)
    return done


def concluded(run: Run) -> Summary:
    """Evaluation and the database: the run's summary."""
    for item in scores.plan(run):
        scores.evaluate(run, item)
    scores.conclude(run)
    database.ingest(run.journal, run.key, run.database)
    return tables.summary(run.database, run.key)


def whole(folder: Path, sets: dict[str, Any] | None = None, method: str = "zppo") -> Summary:
    """All of it."""
    run = opened(folder, sets, method)
    draw_beforehand(run)
    trained(run)
    return concluded(run)


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
