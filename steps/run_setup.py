"""The `start` step: resolve the configuration, name the run, open its store."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from steps.early import resolve, split_overrides
from steps.preflight import check
from zppo_core.config import Config, from_dict

Setup = dict[str, Any]  # a Metaflow artifact: small and JSON-ready


def open_run(scale: str, method: str, seed: str, overrides: str, run_id: str) -> Setup:
    """Fix everything later steps need: they read this artifact, which `resume` clones.

    The run's key is made here and not from the current run id, because a resumed run has another
    id and must find the same store.
    """
    from steps.prepare_data import steps_in_one_pass

    config = resolve(scale, method, seed, split_overrides(overrides))
    check(config)
    return {
        "config": config.to_json(),
        "run_key": f"{config.scale}-{config.run.method}-s{config.run.seed}-{run_id}",
        "created_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "store": absolute(config.store.root),
        "cache": absolute(config.store.cache or f"{config.store.root}/teacher_cache"),
        "database": absolute(config.store.database),
        "rollout_steps": config.run.rollout_steps or steps_in_one_pass(config),
    }


def absolute(path: str) -> str:
    """A local path made independent of the working directory; URLs as they are."""
    return path if "://" in path else os.path.abspath(path)


def config_of(setup: Setup) -> Config:
    """The resolved configuration of a run."""
    return from_dict(json.loads(setup["config"]))


def prefix_of(setup: Setup) -> str:
    """Where the run's journal and checkpoints lie in its store."""
    return str(setup["run_key"])
