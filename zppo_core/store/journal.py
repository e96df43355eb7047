"""The run's journal: what happened, in units that exist wholly or not at all.

A unit is a phase of a rollout step, or a shard of an evaluation: a few files and a manifest with
their checksums. The manifest is written last; until then the unit is not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from zppo_core.errors import UserError
from zppo_core.store.objects import DamagedObjectError, MissingObjectError, ObjectStore, join

MANIFEST = "manifest.json"


class Journal:
    """Units below `prefix` of `store`, named by slash paths such as "step-000003/plain"."""

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        self.store, self.prefix = store, prefix

    def _key(self, unit: str, file: str) -> str:
        return join(self.prefix, unit, file)

    def commit(self, unit: str, files: Mapping[str, bytes]) -> None:
        """Write `files` as `unit`; once this returns, they last.

        The same content again is a no-op; UserError if the unit exists with another.
        """
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        before = self.manifest(unit)
        if before is not None:
            if before["files"] != digests:
                raise UserError(
                    f"journal unit {unit} exists with other content in {self.store.url}; another "
                    "run writes there, or the code changed: start a new run"
                )
            return
        for name, data in files.items():
            self.store.put(self._key(unit, name), data)
        manifest = json.dumps({"files": digests}, indent=1, sort_keys=True)
        self.store.put(self._key(unit, MANIFEST), manifest.encode())

    def manifest(self, unit: str) -> dict[str, Any] | None:
        """The unit's manifest, {"files": {name: SHA-256}}; None if it is not committed."""
        try:
            data = self.store.get(self._key(unit, MANIFEST))
        except MissingObjectError:
            return None
        try:
            manifest: dict[str, Any] = json.loads(data)
            if not isinstance(manifest["files"], dict):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise DamagedObjectError(
                f"journal unit {unit}: its manifest is damaged in {self.store.url}"
            ) from None
        return manifest

    def read(self, unit: str) -> dict[str, bytes] | None:
        """The unit's files, checked against the manifest; None if it is not committed.

        Raises DamagedObjectError naming unit and file.
        """
        manifest = self.manifest(unit)
        if manifest is None:
            return None
        files = {}
        for name, digest in manifest["files"].items():
            try:
                data = self.store.get(self._key(unit, name))
            except MissingObjectError:
                raise DamagedObjectError(f"journal unit {unit}: {name} is missing") from None
            if hashlib.sha256(data).hexdigest() != digest:
                raise DamagedObjectError(f"journal unit {unit}: {name} is damaged")
            files[name] = data
        return files

    def units(self, prefix: str = "") -> list[str]:
        """The committed units that begin with `prefix`, sorted."""
        base = f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else ""
        suffix = f"/{MANIFEST}"
        return [
            key.removeprefix(base).removesuffix(suffix)
            for key in self.store.list(base + prefix)
            if key.endswith(suffix)
        ]
