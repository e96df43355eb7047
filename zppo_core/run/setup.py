"""A run begins: its configuration is fixed, its key made, its store opened."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from zppo_core.config import Config
from zppo_core.errors import UserError
from zppo_core.records.schema import decode
from zppo_core.run.spec import Run
from zppo_core.store.journal import Journal

# what may change in the life of a run: where things are and how they are reached
HARMLESS = frozenset((
    "compute.rendezvous", "compute.cpus", "compute.memory_mb", "compute.engine_memory",
    "teacher.endpoint", "teacher.api_key_env", "teacher.concurrency", "run.steps_per_task",
    "store.root", "store.cache", "store.database", "store.checkpoint_every",
    "store.keep_checkpoints",
))  # fmt: skip


def open_run(config: Config, run_id: str, name: str = "") -> Run:
    """Fix everything that later stages need.

    The key is made here and not from the current run id of a flow, because a resumed run has
    another id and must find the same store. A run with a `name` goes on with what is under that
    name; UserError if that was made by another configuration.
    """
    key = name or f"{config.scale}-{config.run.method}-s{config.run.seed}-{run_id}"
    run = Run(
        key,
        config,
        datetime.now(UTC).replace(tzinfo=None).isoformat(),
        absolute(config.store.root),
        absolute(config.store.cache or f"{config.store.root}/teacher_cache"),
        absolute(config.store.database),
        config.run.rollout_steps,  # 0 until the corpus is there
    )
    if name:
        same_configuration(run.journal, config)
    return run


def same_configuration(journal: Journal, config: Config) -> None:
    """UserError if the journal's run had another configuration."""
    unit = journal.read("run")
    if unit is None:
        return
    before = json.loads(decode("runs", unit["runs.parquet"]).to_pylist()[0]["config_json"])
    usual, now = Config().to_dict(), config.to_dict()
    # a field that came later had its default's value then; one that is gone decides nothing
    fields = [(s, f) for s, known in usual.items() if isinstance(known, dict) for f in known]
    other = [
        f"{s}.{f}" for s, f in fields
        if f"{s}.{f}" not in HARMLESS
        and _plain(before.get(s, {}).get(f, usual[s][f])) != _plain(now[s][f])
    ]  # fmt: skip
    if other:
        raise UserError(
            f"a run of this name exists with another {', '.join(other)}; choose another --name, "
            "set what it had, or delete it from the store"
        )


def _plain(value: Any) -> Any:
    """As JSON has it: a tuple is a list there."""
    return json.loads(json.dumps(value))


def absolute(path: str) -> str:
    """A local path made independent of the working directory; URLs as they are."""
    return path if "://" in path else os.path.abspath(path)
