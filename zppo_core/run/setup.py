"""The `start` step: resolve the configuration, name the run, open its store."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from steps.early import resolve, split_overrides
from zppo_core.config import Config, from_dict, parse_override
from zppo_core.errors import UserError
from zppo_core.run.changes import (
    CHANGEABLE,
    Wanted,
    began_with,
    changes,
    settings_at,
    value_of,
    wanted_changes,
    with_fields,
)
from zppo_core.run.names import check_apart, check_name
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
    id and must find the same store. A run with a `name` goes on with what lies under that name, and
    with the changes that `overrides` name; UserError if that was made by another configuration.
    """
    sets = split_overrides(overrides)
    config = resolve(scale, method, seed, sets)
    run_key = name or f"{config.scale}-{config.run.method}-s{config.run.seed}-{run_id}"
    root = absolute(config.store.root)
    cache = absolute(config.store.cache or f"{config.store.root}/teacher_cache")
    check_name(run_key)
    check_apart(run_key, root, cache)
    check(config)
    wanted: Wanted = {}
    if name:
        explicit = {".".join(parse_override(text)[:2]) for text in sets}
        journal = Journal(open_store(root), f"{run_key}/journal")
        config, wanted = same_configuration(journal, config, explicit)
    return {
        "config": config.to_json(),
        "changes": dict(wanted),
        "run_key": run_key,
        "created_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "store": root,
        "cache": cache,
        "database": absolute(config.store.database),
        "rollout_steps": config.run.rollout_steps,  # 0 until the corpus is there
    }


def settled(setup: Setup) -> Setup:
    """`setup` with its number of rollout steps: one pass over the corpus if none is configured."""
    from steps.prepare_data import steps_in_one_pass

    steps = setup["rollout_steps"] or steps_in_one_pass(config_of(setup))
    return setup | {"rollout_steps": steps}


def same_configuration(
    journal: Journal, config: Config, explicit: Collection[str] = ()
) -> tuple[Config, Wanted]:
    """The configuration that the journal's run goes on with, and what of it is a change.

    An `explicit` field of `CHANGEABLE` may be another. One that is as the run began stays as the
    run has changed it since. UserError if anything else differs.
    """
    began = began_with(journal)
    if began is None:
        return config, {}
    now = settings_at(config, began, changes(journal))
    wanted = wanted_changes(config, now, explicit)
    # a field that came later had its default's value then; one that is gone decides nothing
    usual, mine, since = Config().to_dict(), config.to_dict(), now.to_dict()
    first = {s: known | began.get(s, {}) for s, known in usual.items() if isinstance(known, dict)}
    other = []
    for field in (f"{s}.{f}" for s in first for f in usual[s]):
        allowed = [value_of(first, field)]
        if field in CHANGEABLE:
            allowed.append(value_of(since, field))
        if field not in HARMLESS and field not in wanted and value_of(mine, field) not in allowed:
            other.append(field)
    if other:
        raise UserError(
            f"a run of this name exists with another {', '.join(other)}; choose another --name, "
            "set what it had, or delete it from the store"
        )
    goes_on = with_fields(now, {field: after for field, (_, after) in wanted.items()})
    for field in CHANGEABLE:
        stays = value_of(goes_on.to_dict(), field)
        if stays != value_of(mine, field):
            print(f"{field} stays {stays}, as the run has changed it", flush=True)
    return goes_on, wanted


def absolute(path: str) -> str:
    """A local path made independent of the working directory; URLs as they are."""
    return path if "://" in path else os.path.abspath(path)


def config_of(setup: Setup) -> Config:
    """The resolved configuration of a run."""
    return from_dict(json.loads(setup["config"]))


def prefix_of(setup: Setup) -> str:
    """Where the run's journal and checkpoints lie in its store."""
    return str(setup["run_key"])
