"""What every store can do, the errors it raises, and which keys are safe."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PARALLEL = 8  # transfers at once
BLOCK = 4 << 20  # bytes read at a time from a file that is not held in memory
HIDDEN = (".writing-", ".guard")  # names the stores use for themselves: never keys, never listed
_SAFE = re.compile(r"[^\x00-\x1f\\]+")
Keys = list[str]


class MissingObjectError(KeyError):
    """No object under this key."""


class DamagedObjectError(RuntimeError):
    """An object whose content is not what was put; the text names the key."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing: its key, its size in bytes, when it was put (seconds, Unix)."""

    key: str
    size: int
    modified: float


class ObjectStore(Protocol):
    """Bytes under slash-separated keys. A reader sees a whole object or none.

    Raises MissingObjectError, DamagedObjectError naming the key, ValueError for an unsafe key, and
    UserError (one line) when the store cannot be reached, read or written.
    """

    url: str

    def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, replacing what was there; it lasts when this returns."""
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Put only if there is nothing under `key`; whether it was put."""
        ...

    def put_many(self, items: Mapping[str, bytes], new: bool = False, lasting: bool = True) -> Keys:
        """Put several at once; with `new`, those with nothing there. The keys that were not put.

        With `lasting` false a power failure may undo them, or leave them damaged and detected.
        """
        ...

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        """Replace `old` by `new` in one move; False, and nothing done, if it is not `old`."""
        ...

    def put_file(self, key: str, path: Path, move: bool = False) -> None:
        """Put a file of any size without holding it in memory; `move` may use the file up."""
        ...

    def get(self, key: str) -> bytes:
        """The object's bytes, checked by their checksum."""
        ...

    def get_file(self, key: str, path: Path) -> None:
        """Copy an object of any size to `path`, checked by its checksum."""
        ...

    def digest(self, key: str) -> str:
        """SHA-256 (hex) of the object's bytes, read anew and not held in memory."""
        ...

    def exists(self, key: str) -> bool: ...

    def entries(self, prefix: str = "") -> Iterable[Entry]:
        """What is under the keys that begin with `prefix`, in no order."""
        ...

    def list(self, prefix: str = "") -> Keys:
        """Keys that begin with `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        ...

    def scratch(self, prefix: str = "") -> AbstractContextManager[Path]:
        """A folder for what is about to be put below `prefix`, gone at the end."""
        ...

    def sweep(self, prefix: str = "", older: float = 3600.0) -> int:
        """Remove what killed writers left half done `older` seconds ago; how much there was."""
        ...


def check_key(key: str) -> str:
    """`key` if it is safe; ValueError if it is empty, absolute, or could leave the store."""
    parts = key.split("/")
    if not _SAFE.fullmatch(key) or any(p in ("", ".", "..") or hidden(p) for p in parts):
        raise ValueError(f"unsafe key {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` if it is the beginning of a safe key, or empty; else ValueError."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def hidden(name: str) -> bool:
    """Whether a file or folder name is the store's own."""
    return name.startswith(HIDDEN)


def join(*parts: str) -> str:
    """Parts of a key with single slashes, empty ones left out."""
    return "/".join(p.strip("/") for p in parts if p.strip("/"))


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
