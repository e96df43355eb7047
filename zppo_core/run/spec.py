"""A run as a value: its key, its configuration, and where its store and database are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from zppo_core.config import Config, from_dict
from zppo_core.store.journal import Journal
from zppo_core.store.objects import ObjectStore, open_store

SMALL_FILE = 16_384  # bytes: such a file of a unit has none of its own, but stands in its manifest
Artifact = dict[str, Any]  # of Metaflow: small, JSON-ready, readable without this package


@dataclass(frozen=True)
class Run:
    """What every stage needs to know of a run; made once, in `zppo_core.run.setup`.

    `key` names it in the database, and is where its journal and checkpoints are in the store.
    `rollout_steps` is 0 until the corpus has been counted. `name` is that of a model which is
    evaluated without a run of ours: its rows in the database belong to no run. `changes` are the
    settings that the run is to go on with: field -> what it was, what it shall be.
    """

    key: str
    config: Config
    created_at: str  # ISO, UTC
    store_url: str
    cache_url: str
    database: str
    rollout_steps: int = 0
    name: str = ""
    changes: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @cached_property
    def store(self) -> ObjectStore:
        """Journals and checkpoints of runs."""
        return open_store(self.store_url)

    @cached_property
    def cache(self) -> ObjectStore:
        """What runs share: teacher draws and scores."""
        return open_store(self.cache_url)

    @cached_property
    def journal(self) -> Journal:
        """The run's committed units."""
        return Journal(self.store, f"{self.key}/journal", SMALL_FILE)

    @property
    def recorded_key(self) -> str | None:
        """The key in tables of scores; None where a model is evaluated without a run."""
        return None if self.name else self.key

    def with_steps(self, rollout_steps: int) -> Run:
        """The run with its number of rollout steps."""
        return replace(self, rollout_steps=rollout_steps)

    def artifact(self) -> Artifact:
        """The run as plain values: what a flow hands from step to step."""
        return {
            "config": self.config.to_json(),
            "run_key": self.key,
            "created_at": self.created_at,
            "store": self.store_url,
            "cache": self.cache_url,
            "database": self.database,
            "rollout_steps": self.rollout_steps,
            "name": self.name,
            "changes": {field: list(pair) for field, pair in self.changes.items()},
        }

    @classmethod
    def of(cls, artifact: Mapping[str, Any]) -> Run:
        """The run of an artifact, also of one that an earlier version wrote."""
        return cls(
            artifact["run_key"],
            from_dict(json.loads(artifact["config"])),
            artifact["created_at"],
            artifact["store"],
            artifact["cache"],
            artifact["database"],
            artifact.get("rollout_steps", 0),
            artifact.get("name", ""),
            artifact.get("changes", {}),
        )
