"""Checkpoints: an ordinary Hugging Face folder, and beside it all that a bitwise resume needs.

Written aside and put under its step, a manifest of hashes last, so a half-written one does not
exist; a damaged one is passed over for the one before. No pickles: safetensors and JSON alone.
Files of any size: none is held in memory to be copied or checked.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zppo_core.errors import UserError
from zppo_core.store.disk import writing
from zppo_core.store.journal import MANIFEST, Journal
from zppo_core.store.objects import (
    DamagedObjectError,
    MissingObjectError,
    ObjectStore,
    check_key,
    hash_file,
    in_parallel,
    join,
    put_tree,
)

if TYPE_CHECKING:
    pass

FOLDER = "checkpoints"
LONGEST = 18  # digits of a step


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint: after `step` rollout steps, below `prefix`; `digests` by file."""

    store: ObjectStore
    prefix: str
    step: int
    digests: Mapping[str, str]

    def files(self, part: str = "") -> list[str]:
        """Names of its files, or of those below `part`, sorted."""
        below = join(part) + "/" if join(part) else ""
        return sorted(name for name in self.digests if name.startswith(below))

    def read(self, name: str) -> bytes:
        """One file, checked; MissingObjectError if there is none of this name."""
        if name not in self.digests:
            raise MissingObjectError(name)
        data = self.store.get(join(self.prefix, name))
        if hashlib.sha256(data).hexdigest() != self.digests[name]:
            raise self._damaged(name)
        return data

    def fetch(self, folder: str | Path, part: str = "") -> list[Path]:
        """Copy its files, or those below `part`, into `folder`, checked; their paths, sorted.

        `part` is "student" for the Hugging Face folder. MissingObjectError if it has none.
        """
        names = self.files(part)
        if not names:
            raise MissingObjectError(join(self.prefix, part))
        below = join(part) + "/" if join(part) else ""

        def copy(name: str) -> Path:
            path = Path(folder) / check_key(name.removeprefix(below))
            self.store.get_file(join(self.prefix, name), path)
            if hash_file(path) != self.digests[name]:
                raise self._damaged(name)
            return path

        return in_parallel(copy, names)

    def verify(self) -> None:
        """Read every file anew; DamagedObjectError names the first that is not what was put."""

        def check(name: str) -> bool:
            try:
                return self.store.digest(join(self.prefix, name)) == self.digests[name]
            except (MissingObjectError, DamagedObjectError):
                return False

        names = self.files()
        for name, sound in zip(names, in_parallel(check, names), strict=True):
            if not sound:
                raise self._damaged(name)

    def _damaged(self, name: str) -> DamagedObjectError:
        return DamagedObjectError(f"{name} is damaged or missing in {self.store.url}/{self.prefix}")


def save_checkpoint(
    store: ObjectStore, prefix: str, step: int, write: Callable[[Path], None], keep: int
) -> None:
    """Commit what `write` puts into a folder as the checkpoint of `step`; keep the last `keep`.

    The folder lies in the store itself if that is local: its files are renamed, not copied. Warns
    if what killed writers left there cannot be removed.
    """
    root = join(prefix, FOLDER)
    place = join(root, unit_of(step))
    sweep_remains(store, root)
    with store.scratch(root) as folder:
        with writing(place, folder.parent):
            write(folder)
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
        digests = {p.relative_to(folder).as_posix(): hash_file(p) for p in paths}
        delete_checkpoint(store, prefix, step)  # of a crash, or damaged: nothing of it may stay
        put_tree(folder, store, place, move=True)
    manifest = json.dumps({"files": digests, "step": step}, indent=1, sort_keys=True)
    store.put(join(place, MANIFEST), manifest.encode())
    for old in steps(store, prefix)[:-keep]:
        delete_checkpoint(store, prefix, old)


def sweep_remains(store: ObjectStore, prefix: str) -> int:
    """Remove what killed writers left half done below `prefix` an hour ago; how much there was.

    Warns where it may not be removed: that is a right of its own on S3, and no reason to stop.
    """
    try:
        return store.sweep(prefix)
    except UserError as error:
        warnings.warn(
            f"what killed writers left below {prefix} stays ({str(error).partition(';')[0]})",
            stacklevel=2,
        )
        return 0


def delete_checkpoint(store: ObjectStore, prefix: str, step: int) -> None:
    """Remove a checkpoint, its manifest first, so that it is never half there."""
    place = join(prefix, FOLDER, unit_of(step))
    store.delete(join(place, MANIFEST))
    for key in store.list(place + "/"):
        store.delete(key)


def unit_of(step: int) -> str:
    return f"step-{step:06d}"


def step_of(unit: str) -> int | None:
    """The step of a checkpoint's name as `unit_of` writes it; None for any other: `step-7`."""
    digits = unit.removeprefix("step-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST):
        return None
    return int(digits) if unit == unit_of(int(digits)) else None


def steps(store: ObjectStore, prefix: str) -> list[int]:
    """Steps with a committed checkpoint, ascending."""
    units = Journal(store, join(prefix, FOLDER)).units("step-")
    return sorted(step for step in map(step_of, units) if step is not None)


def checkpoint_of(store: ObjectStore, prefix: str, step: int) -> Checkpoint:
    """The checkpoint of `step`, verified.

    MissingObjectError if there is none, DamagedObjectError if a hash does not hold.
    """
    unit = unit_of(step)
    manifest = Journal(store, join(prefix, FOLDER)).manifest(unit)
    if manifest is None:
        raise MissingObjectError(join(prefix, FOLDER, unit))
    if manifest.get("step") != step:
        raise DamagedObjectError(f"{unit} is a copy: its manifest is of another step")
    checkpoint = Checkpoint(store, join(prefix, FOLDER, unit), step, manifest["files"])
    checkpoint.verify()
    return checkpoint


def latest_checkpoint(store: ObjectStore, prefix: str) -> Checkpoint | None:
    """The newest checkpoint whose hashes hold, None if there is none.

    Warns of each damaged one that it passes over.
    """
    for step in reversed(steps(store, prefix)):
        try:
            return checkpoint_of(store, prefix, step)
        except DamagedObjectError as error:
            warnings.warn(
                f"checkpoint of step {step} is damaged ({error}); going back to the one before",
                stacklevel=2,
            )
    return None
