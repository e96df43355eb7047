"""The run's journal: what happened, in units that exist wholly or not at all.

A unit is a phase of a rollout step, or a shard of an evaluation: a few files and a manifest with
their checksums. The manifest is written last; until then the unit is not there. Nothing that a
manifest names is ever written again, so writers that meet cannot tear a unit.

Small files stand in the manifest itself: a rollout step has two dozen, most of a few kilobytes.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from zppo_core.errors import UserError
from zppo_core.store.base import (
    DamagedObjectError,
    MissingObjectError,
    ObjectStore,
    check_key,
    join,
)

MANIFEST = "manifest.json"


class Manifest(TypedDict):
    """What a committed unit holds: the SHA-256 of each file, and the place of those moved aside.

    `small` has the content of small ones (base64), which have no file of their own.
    """

    files: dict[str, str]
    small: NotRequired[dict[str, str]]
    at: NotRequired[dict[str, str]]


class Journal:
    """Units below `prefix` of `store`, named by slash paths such as "step-000003/plain".

    Files of less than `small` bytes are written into the manifest; either way is read.
    """

    def __init__(self, store: ObjectStore, prefix: str = "", small: int = 0) -> None:
        self.store, self.prefix, self.small = store, prefix, small

    def _key(self, unit: str, file: str) -> str:
        return join(self.prefix, unit, file)

    def commit(self, unit: str, files: Mapping[str, bytes]) -> None:
        """Write `files` as `unit`; once this returns, they last.

        The same content again is a no-op; UserError if the unit exists with another.
        """
        if self._write(unit, files)["files"] != digests_of(files):
            raise UserError(
                f"journal unit {unit} exists with other content in {self.store.url}; another "
                "run writes there, or the code changed: start a new run"
            )

    def keep(self, unit: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Write `files` as `unit` unless it exists; what it holds now: the first writer's.

        For results that runs share: whoever comes second takes over what the first has kept.
        """
        if self._write(unit, files)["files"] == digests_of(files):
            return dict(files)
        kept = self.read(unit)
        if kept is None:
            raise DamagedObjectError(f"journal unit {unit}: deleted while it was read")
        return kept

    def _write(self, unit: str, files: Mapping[str, bytes]) -> Manifest:
        """The manifest that stands in the end: of `files`, or of who came first."""
        if reserved := [name for name in files if name.rpartition("/")[2] == MANIFEST]:
            raise ValueError(f"{reserved[0]} is the manifest's own name")
        present = self.manifest(unit)
        if present is not None:
            return present
        digests = digests_of(files)
        inside = {
            n: b64encode(data).decode() for n, data in files.items() if len(data) < self.small
        }
        keys = {self._key(unit, name): name for name in files if name not in inside}
        taken = self.store.put_many({key: files[name] for key, name in keys.items()}, new=True)
        manifest: Manifest = {"files": digests}
        if inside:
            manifest["small"] = inside
        if elsewhere := self._move_aside(unit, files, [keys[key] for key in taken]):
            manifest["at"] = elsewhere
        text = json.dumps(manifest, indent=1, sort_keys=True)
        if not self.store.put_new(self._key(unit, MANIFEST), text.encode()):
            first = self.manifest(unit)
            if first is not None:
                return first
        return manifest

    def _move_aside(
        self, unit: str, files: Mapping[str, bytes], taken: list[str]
    ) -> dict[str, str]:
        # what lies there is a dead writer's, or a live one's whose manifest may come any moment
        elsewhere = {}
        for name in taken:
            digest = hashlib.sha256(files[name]).hexdigest()
            try:
                if hashlib.sha256(self.store.get(self._key(unit, name))).hexdigest() == digest:
                    continue
            except (DamagedObjectError, MissingObjectError):
                pass
            elsewhere[name] = f"{name}.{digest[:16]}"
            self.store.put(self._key(unit, elsewhere[name]), files[name])
        return elsewhere

    def manifest(self, unit: str) -> Manifest | None:
        """The unit's manifest, {"files": {name: SHA-256}}; None if it is not committed.

        DamagedObjectError if it is damaged, ValueError if `unit` makes an unsafe key.
        """
        key = check_key(self._key(unit, MANIFEST))  # here, for a ValueError below means damage
        try:
            manifest: Manifest = json.loads(self.store.get(key))
            for places in (manifest["files"], manifest.get("at", {}), manifest.get("small", {})):
                for name, value in places.items():
                    check_key(name)
                    if not isinstance(value, str):
                        raise TypeError
            list(map(check_key, manifest.get("at", {}).values()))
        except MissingObjectError:
            return None
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            DamagedObjectError,
        ):
            raise self._damaged(unit, "its manifest is damaged") from None
        return manifest

    def _damaged(self, unit: str, what: str) -> DamagedObjectError:
        place = f"{self.store.url}/{self._key(unit, MANIFEST)}"
        return DamagedObjectError(
            f"journal unit {unit}: {what}; delete {place}, then the unit is computed again"
        )

    def read(self, unit: str) -> dict[str, bytes] | None:
        """The unit's files, checked against the manifest; None if it is not committed.

        Raises DamagedObjectError naming unit and file, and what to delete: a unit without its
        manifest is computed again.
        """
        manifest = self.manifest(unit)
        if manifest is None:
            return None
        files, elsewhere, inside = {}, manifest.get("at", {}), manifest.get("small", {})
        for name, digest in manifest["files"].items():
            try:
                if name in inside:
                    data = b64decode(inside[name])
                else:
                    data = self.store.get(self._key(unit, elsewhere.get(name, name)))
            except ValueError:  # no base64
                raise self._damaged(unit, f"{name} is damaged") from None
            except MissingObjectError:
                raise self._damaged(unit, f"{name} is missing") from None
            except DamagedObjectError as error:
                raise self._damaged(unit, f"{name} is damaged") from error
            if hashlib.sha256(data).hexdigest() != digest:
                raise self._damaged(unit, f"{name} is damaged")
            files[name] = data
        return files

    def units(self, prefix: str = "") -> list[str]:
        """The committed units that begin with `prefix`, sorted."""
        base = join(self.prefix) + "/" if join(self.prefix) else ""
        suffix = f"/{MANIFEST}"
        return sorted(
            entry.key.removeprefix(base).removesuffix(suffix)
            for entry in self.store.entries(base + prefix)
            if entry.key.endswith(suffix)
        )


def digests_of(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
