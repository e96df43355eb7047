"""Media of a data set by the end of their path: loose or in zips, files or folders of stills.

Data sets are unpacked in many ways, or not at all: what a row names is found wherever it lies.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STILLS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# what zipfile raises on a damaged, encrypted or strangely packed member
ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError)


class UnreadableError(Exception):
    """A picture or video that cannot be read; the text names it."""


@dataclass(frozen=True)
class Stills:
    """A video as a folder of pictures, in order; loose, or in the zip `archive`."""

    name: str
    members: tuple[str, ...]
    archive: Path | None = None

    def read(self, members: Sequence[str]) -> list[bytes]:
        """The bytes of some of `members`; UnreadableError if one cannot be had."""
        if self.archive is None:
            return [Path(member).read_bytes() for member in members]
        try:
            with zipfile.ZipFile(self.archive) as opened:
                return [opened.read(member) for member in members]
        except ZIP_FAULTS as error:
            raise UnreadableError(f"broken frames in {self.archive.name}: {error}") from None


Found = Path | io.BytesIO | Stills


@dataclass
class Index:
    """Paths by their last part, to look them up by any end of them.

    `folders` maps a folder with stills to those, in order.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[str]) -> Index:
        """The index of `paths`, which have slashes; hidden files and folders are none."""
        index = cls()
        for path in paths:
            parts = path.split("/")
            if path.endswith("/") or any(p.startswith(".") or p == "__MACOSX" for p in parts):
                continue
            index.names.setdefault(parts[-1], []).append(path)
            if path.lower().endswith(STILLS):
                index.folders.setdefault("/".join(parts[:-1]), []).append(path)
        for folder, stills in index.folders.items():
            stills.sort(key=_by_number)
            index.names.setdefault(folder.rpartition("/")[2], []).append(folder)
        return index

    def find(self, name: str) -> str | None:
        """The file, or folder with stills, whose path ends in `name`; the shortest if several."""
        ends = [
            p
            for p in self.names.get(name.rpartition("/")[2], ())
            if p == name or p.endswith(f"/{name}")
        ]
        return min(ends, key=lambda path: (len(path), path), default=None)


def _by_number(path: str) -> list[tuple[int, str]]:
    """An order in which 2.jpg comes before 10.jpg."""
    return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"([0-9]+)", path)]


def walked(root: Path) -> list[str]:
    """Every file below `root`, with slashes, relative to it; linked folders are entered once."""
    paths, seen = [], set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        below = Path(folder).relative_to(root).as_posix()
        paths += [name if below == "." else f"{below}/{name}" for name in files]
    return sorted(paths)


class Archives:
    """What lies in some zips. A broken one is named when something is not found."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.broken: list[str] = []
        self._indices: list[tuple[Path, Index]] = []
        for path in paths:
            try:
                with zipfile.ZipFile(path) as opened:
                    self._indices.append((path, Index.of(opened.namelist())))
            except (zipfile.BadZipFile, OSError) as error:
                self.broken.append(f"broken archive {path.name}: {error}")

    def find(self, name: str) -> Found | None:
        """The member, or folder of stills, whose path ends in `name`; UnreadableError if broken."""
        for archive, index in self._indices:
            path = index.find(name)
            if path is None:
                continue
            if path in index.folders:
                return Stills(path, tuple(index.folders[path]), archive)
            try:
                with zipfile.ZipFile(archive) as opened:
                    return io.BytesIO(opened.read(path))
            except ZIP_FAULTS as error:
                raise UnreadableError(f"broken {path} in {archive.name}: {error}") from None
        return None
