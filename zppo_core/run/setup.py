"""A run begins: its configuration is fixed, its key made, its store opened."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from zppo_core.config import Config
from zppo_core.config.schema import method_of
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
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import sweep_remains
from zppo_core.store.journal import Journal

# what may change in the life of a run: where things are and how they are reached
HARMLESS = frozenset(
    (
        "compute.ray",
        "compute.cpus",
        "compute.memory_mb",
        "compute.engine_memory",
        "teacher.endpoint",
        "teacher.api_key_env",
        "teacher.concurrency",
        "run.steps_per_task",
        "run.trackers",
        "store.root",
        "store.cache",
        "store.database",
        "store.checkpoint_every",
        "store.keep_checkpoints",
        "evaluation.tasks",
    )
)
# of these only whether they are zero must stay: calls are cut in one way for any number of workers
WHETHER = frozenset({"compute.workers"})


def open_run(config: Config, run_id: str, name: str = "", explicit: Collection[str] = ()) -> Run:
    """Fix everything that later stages need.

    The key is made here and not from the current run id of a flow, because a resumed run has
    another id and must find the same store. A run with a `name` goes on with what is under that
    name, and with the changes among its `explicit` fields. UserError if that was made by another
    configuration, or if no run can have the name.
    """
    method = method_of(config).name
    key = check_name(name or f"{config.scale}-{method}-s{config.run.seed}-{run_id}")
    root, cache = places(config)
    check_apart(key, root, cache)
    run = Run(
        key,
        config,
        datetime.now(UTC).replace(tzinfo=None).isoformat(),
        root,
        cache,
        absolute(config.store.database),
        config.run.rollout_steps,  # 0 until the corpus is there
    )
    if not name:
        return run
    config, changed = same_configuration(run.journal, config, explicit)
    return replace(run, config=config, changes=changed)


def places(config: Config) -> tuple[str, str]:
    """The store of runs and the cache that they share, wherever the process was started."""
    cache = config.store.cache or f"{config.store.root}/teacher_cache"
    return absolute(config.store.root), absolute(cache)


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
    changed = wanted_changes(config, now, explicit)
    # a field that came later had its default's value then; one that is gone decides nothing
    usual, values, since = Config().to_dict(), config.to_dict(), now.to_dict()
    first = {
        s: fields | began.get(s, {}) for s, fields in usual.items() if isinstance(fields, dict)
    }
    other = []
    for field in (f"{s}.{f}" for s in first for f in usual[s]):
        allowed = [_tight(value_of(first, field))]
        if field in CHANGEABLE:
            allowed.append(value_of(since, field))
        named = _tight(value_of(values, field))
        if field in WHETHER:
            allowed, named = [bool(value) for value in allowed], bool(named)
        if field not in HARMLESS and field not in changed and named not in allowed:
            other.append(field)
    if other:
        raise UserError(
            f"a run of this name exists with another {', '.join(other)}; choose another --name, "
            "set what it had, or delete it from the store"
        )
    goes_on = with_fields(now, {field: after for field, (_, after) in changed.items()})
    for field in CHANGEABLE:
        stays = value_of(goes_on.to_dict(), field)
        if stays != value_of(values, field):
            print(f"{field} stays {stays}, as the run has changed it", flush=True)
    return goes_on, changed


def _tight(value: Any) -> Any:
    """Text without the spaces around separators, which tables of before were stored with."""
    return re.sub(r"\s*([,;=])\s*", r"\1", value).strip() if isinstance(value, str) else value


def absolute(path: str) -> str:
    """A local path made independent of the working directory; URLs as they are."""
    return path if "://" in path else os.path.abspath(path)


def sweep_stores(run: Run) -> None:
    """Delete what tasks that were killed had begun to write, in the run's store and its cache."""
    sweep_remains(run.store, run.key)
    sweep_remains(run.cache, "")
