"""The `start` step: resolve the configuration, name the run, open its store."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from steps.early import resolve, split_overrides
from zppo_core.config import Config, from_dict
from zppo_core.errors import UserError
from zppo_core.records.schema import decode
from zppo_core.run.preflight import check
from zppo_core.store.journal import Journal
from zppo_core.store.objects import open_store

Setup = dict[str, Any]  # a Metaflow artifact: small and JSON-ready
# what may change in the life of a run: where things are and how they are reached
HARMLESS = frozenset((
    "compute.rendezvous", "compute.cpus", "compute.memory_mb", "compute.engine_memory",
    "teacher.endpoint", "teacher.api_key_env", "teacher.concurrency", "run.steps_per_task",
    "store.root", "store.cache", "store.database", "store.checkpoint_every",
    "store.keep_checkpoints",
))  # fmt: skip


def open_run(scale: str, method: str, seed: str, overrides: str, run_id: str,
             name: str = "") -> Setup:  # fmt: skip
    """Fix everything later steps need: they read this artifact, which `resume` clones.

    The run's key is made here and not from the current run id, because a resumed run has another
    id and must find the same store. A run with a `name` goes on with what lies under that name;
    UserError if that was made by another configuration.
    """
    config = resolve(scale, method, seed, split_overrides(overrides))
    check(config)
    run_key = name or f"{config.scale}-{config.run.method}-s{config.run.seed}-{run_id}"
    store = open_store(absolute(config.store.root))
    if name:
        same_configuration(Journal(store, f"{run_key}/journal"), config)
    return {
        "config": config.to_json(),
        "run_key": run_key,
        "created_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "store": absolute(config.store.root),
        "cache": absolute(config.store.cache or f"{config.store.root}/teacher_cache"),
        "database": absolute(config.store.database),
        "rollout_steps": config.run.rollout_steps,  # 0 until the corpus is there
    }


def settled(setup: Setup) -> Setup:
    """`setup` with its number of rollout steps: one pass over the corpus if none is configured."""
    from steps.prepare_data import steps_in_one_pass

    steps = setup["rollout_steps"] or steps_in_one_pass(config_of(setup))
    return setup | {"rollout_steps": steps}


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


def config_of(setup: Setup) -> Config:
    """The resolved configuration of a run."""
    return from_dict(json.loads(setup["config"]))


def prefix_of(setup: Setup) -> str:
    """Where the run's journal and checkpoints lie in its store."""
    return str(setup["run_key"])
