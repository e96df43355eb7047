"""The table files below a local folder or an S3 prefix; a remote one is on this disk while read."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from zppo_core.data.readers import RowError, numbered
from zppo_core.errors import UserError
from zppo_core.store.objects import open_store

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from datasets import IterableDataset

    from zppo_core.store.base import ObjectStore

# by suffix, what `datasets` calls the format
FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".arrow": "arrow",
}


# tables of these names say something about others: LLaMA-Factory's, those of `datasets`
NO_TABLES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
MOST_MEDIA = 1 << 28  # bytes of a picture's file


@dataclass(frozen=True)
class TableFile:
    """One file: its path below the place, its whole name, and how to have it on this disk."""

    name: str
    label: str
    local: Callable[[], AbstractContextManager[Path]]
    beside: Callable[[str], bytes]  # the bytes of a file named relative to this one

    @property
    def format(self) -> str:
        return FORMATS[PurePosixPath(self.name).suffix]

    def numbered(
        self, columns: Iterable[str] = (), start: int = 0
    ) -> Iterator[tuple[int, Mapping[str, object]]]:
        """(number from 1, row) from number `start` + 1 on; only `columns` if any are named.

        UserError names the file and the row that cannot be read.
        """
        with self.local() as path:
            try:
                yield from numbered(self.format, path, set(columns), start)
            except RowError as error:
                raise UserError(
                    f"{self.label}, row {error.row}: {error}; mend the file, or leave it out"
                ) from error

    def rows(self, columns: Iterable[str] = (), start: int = 0) -> Iterator[Mapping[str, object]]:
        """The rows from number `start` on, images as they are stored."""
        return (row for _, row in self.numbered(columns, start))


def read_file(path: Path) -> bytes:
    """The bytes of a regular file of at most 256 MiB; OSError names it otherwise."""
    try:
        regular = path.is_file()
    except ValueError:  # a NUL in its name
        regular = False
    if not regular:
        raise FileNotFoundError(f"no file {str(path)[:200]!r}")
    if path.stat().st_size > MOST_MEDIA:
        raise OSError(f"{path} is larger than 256 MiB")
    return path.read_bytes()


def undecoded(stream: IterableDataset, columns: Iterable[str]) -> IterableDataset:
    """A stream of `datasets` with images as they are stored, and those of `columns` that it has.

    All columns if none are named. Other types stay decoded: where a JSON column mixes numbers and
    texts, undecoded texts would keep their quotation marks.
    """
    from datasets import Image, List

    for name, feature in (stream.features or {}).items():
        if isinstance(feature, Image):
            stream = stream.cast_column(name, Image(decode=False))
        elif isinstance(feature, List) and isinstance(feature.feature, Image):
            stream = stream.cast_column(name, List(Image(decode=False)))
    chosen, present = set(columns), stream.column_names
    if not chosen or present is None:
        return stream
    return stream.select_columns([c for c in present if c in chosen])


def is_place(place: str) -> bool:
    """Whether `place` names files (here, or on S3) rather than a hub id."""
    path = Path(place)
    if place.startswith("s3://") or path.suffix in FORMATS or path.exists():
        return True
    return place.startswith(("/", "./", "../", "~"))


def table_files(place: str, begins: str = "") -> list[TableFile]:
    """The table files below a folder or `s3://bucket/prefix`, or the one that `place` is, by name.

    `begins` is what a file's name must begin with. UserError if there are none, or no such bucket.
    """
    folder, _, name = place.rpartition("/") if Path(place).suffix in FORMATS else (place, "", "")
    if place.startswith("s3://"):
        store = open_store(folder)
        present = {key: _on_s3(store, folder, key) for key in store.list(name)}
    else:
        root = Path(folder).expanduser()
        if not (root / name).exists():
            raise UserError(f"{place} does not exist; give a file, a folder or s3://bucket/prefix")
        if root.is_file():
            raise UserError(f"{place} is no table; give one of *{', *'.join(FORMATS)}")
        paths = [root / name] if name else root.rglob("*")
        present = {p.relative_to(root).as_posix(): _here(root, p) for p in paths if p.is_file()}
    files = [
        file
        for key, file in sorted(present.items())
        if PurePosixPath(key).suffix in FORMATS
        and PurePosixPath(key).name.startswith(begins)
        and (key == name or PurePosixPath(key).name not in NO_TABLES)
    ]
    if not files:
        raise UserError(f"{place} holds no {begins or 'file '}*{', *'.join(FORMATS)}")
    return files


def _here(folder: Path, path: Path) -> TableFile:
    def beside(name: str) -> bytes:
        return read_file(path.parent / name)

    name = path.relative_to(folder).as_posix()
    return TableFile(name, str(path), lambda: nullcontext(path), beside)


def _on_s3(store: ObjectStore, folder: str, key: str) -> TableFile:
    @contextmanager
    def local() -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as below:
            path = Path(below) / PurePosixPath(key).name
            store.get_file(key, path)
            yield path

    def beside(name: str) -> bytes:
        media = posixpath.normpath(PurePosixPath(key).parent / name)
        try:
            return store.get(media)
        except (KeyError, UserError, ValueError, RuntimeError) as error:
            raise FileNotFoundError(f"no file {media!r} in {folder}") from error

    return TableFile(key, f"{folder}/{key}", local, beside)
