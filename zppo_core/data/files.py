"""The table files below a local folder or an S3 prefix; a remote one is on this disk while read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zppo_core.errors import UserError
from zppo_core.store.objects import open_store

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from zppo_core.store.base import ObjectStore

# by suffix, what `datasets` calls the format
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv",
           ".arrow": "arrow"}  # fmt: skip


@dataclass(frozen=True)
class TableFile:
    """One file: its path below the place, and how to have it on this disk."""

    name: str
    local: Callable[[], AbstractContextManager[Path]]

    @property
    def format(self) -> str:
        return FORMATS[PurePosixPath(self.name).suffix]

    def rows(self, columns: Iterable[str] = (), start: int = 0) -> Iterator[Mapping[str, Any]]:
        """The rows from number `start` on, images undecoded; only `columns` if any are named."""
        from datasets import load_dataset

        with self.local() as path:
            stream = load_dataset(self.format, data_files=str(path), split="train", streaming=True)
            yield from undecoded(stream, columns).skip(start)


def undecoded(stream: Any, columns: Iterable[str]) -> Any:
    """A stream of `datasets` with images as they are stored, and those of `columns` that it has.

    All columns if none are named.
    """
    if stream.features is not None:
        stream = stream.decode(False)
    wanted, present = set(columns), stream.column_names
    if not wanted or present is None:
        return stream
    return stream.select_columns([c for c in present if c in wanted])


def is_place(place: str) -> bool:
    """Whether `place` names files (here, or on S3) rather than a hub id."""
    path = Path(place)
    return place.startswith("s3://") or path.suffix in FORMATS or path.is_dir()


def table_files(place: str, begins: str = "") -> list[TableFile]:
    """The table files below a folder or `s3://bucket/prefix`, or the one that `place` is, by name.

    `begins` is what a file's name must begin with. UserError if there are none, or no such bucket.
    """
    folder, _, name = place.rpartition("/") if Path(place).suffix in FORMATS else (place, "", "")
    if place.startswith("s3://"):
        store = open_store(folder)
        found = {key: _fetched(store, key) for key in store.list(name)}
    else:
        here = Path(folder)
        if not (here / name).exists():
            raise UserError(f"{place} does not exist; give a file, a folder or s3://bucket/prefix")
        paths = [here / name] if name else here.rglob("*")
        found = {p.relative_to(here).as_posix(): _here(p) for p in paths if p.is_file()}
    files = [
        TableFile(key, local)
        for key, local in sorted(found.items())
        if PurePosixPath(key).suffix in FORMATS and PurePosixPath(key).name.startswith(begins)
    ]
    if not files:
        raise UserError(f"{place} holds no {begins or 'file '}*{', *'.join(FORMATS)}")
    return files


def _here(path: Path) -> Callable[[], AbstractContextManager[Path]]:
    return lambda: nullcontext(path)


def _fetched(store: ObjectStore, key: str) -> Callable[[], AbstractContextManager[Path]]:
    @contextmanager
    def local() -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(key).name
            store.get_file(key, path)
            yield path

    return local
