"""Rows and media of a data set: from the hub, or from a folder with copies under the hub ids.

Text columns are read at once, pictures and videos only when a sample is asked.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.suite import Benchmark, Picture
from zppo_core.errors import UserError
from zppo_core.pixels import plain_bytes

if TYPE_CHECKING:
    import datasets


class UnreadableError(Exception):
    """A picture or video that cannot be read; the text names it."""


@dataclass(frozen=True, eq=False)
class Row(Mapping[str, Any]):
    """A row's text columns; `index` counts within its config and split."""

    values_of: Mapping[str, Any]
    index: int
    config: str
    split: str
    table: datasets.Dataset

    def __getitem__(self, column: str) -> Any:
        return self.values_of[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)

    def has(self, column: str) -> bool:
        """Whether the row's cell holds something (also for pictures)."""
        if column not in self.table.column_names:
            return False
        cell = self.table.data.column(column)[self.index]
        return bool(cell.is_valid) and self.values_of.get(column, True) not in (None, "")

    def picture(self, column: str = "image") -> Picture:
        """The picture in `column`, read when called; UnreadableError if it cannot be."""

        name = f"{column} of row {self.index}"

        def read() -> tuple[bytes, ...]:
            cell = self.table.select_columns([column])[self.index][column]
            try:
                data = cell["bytes"] or Path(cell["path"]).read_bytes()
            except (TypeError, KeyError, OSError) as error:
                raise UnreadableError(f"no picture in {name}: {error}") from None
            return (checked(data, name),)

        return read


def checked(data: bytes, name: str) -> bytes:
    """`data` as PNG or JPEG as training sees it, unchanged if it is; UnreadableError if broken."""
    try:
        return plain_bytes(data)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"broken picture in {name}: {error}") from None


class Source:
    """The data set of `benchmark`: in the folder `root` (as `<root>/<hub id>`), or on the hub.

    `where` replaces the record's data set by "hub/id" or "hub/id@revision".
    """

    def __init__(self, root: str, benchmark: Benchmark, where: str = "") -> None:
        self.benchmark = benchmark
        self.dataset, _, revision = (where or benchmark.dataset).partition("@")
        self.revision = revision or None
        self.folder = Path(root) / self.dataset if root else None
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"{benchmark.name}: no folder {self.folder}; {self.how_to_get()}")

    def how_to_get(self) -> str:
        """One line on how to get the data."""
        terms = " after accepting its terms on huggingface.co" if self.benchmark.gated else ""
        target = f" --local-dir {self.folder}" if self.folder else ""
        return f"get it with `hf download --repo-type dataset {self.dataset}{target}`{terms}"

    def configs(self) -> list[str]:
        """The record's configs; "*" stands for all that the data set has."""
        if self.benchmark.configs != ("*",):
            return list(self.benchmark.configs)
        import datasets

        return sorted(self._try(datasets.get_dataset_config_names, revision=self.revision))

    def rows(self, columns: Sequence[str], split: str = "") -> Iterator[Row]:
        """All rows, config by config; `columns` must be there.

        `split` replaces the record's; "a|b" takes the first that exists.
        """
        for config in self.configs():
            yield from self.rows_of(config, split or self.benchmark.split, columns)

    def rows_of(self, config: str, split: str, columns: Sequence[str]) -> Iterator[Row]:
        """The rows of one config and split."""
        import datasets

        table = self._load(config, split)
        missing = [c for c in columns if c not in table.column_names]
        if missing:
            raise UserError(
                f"{self.benchmark.name}: {self.dataset} has no column {missing[0]!r}, only "
                f"{', '.join(table.column_names)}; pin a revision that has it"
            )
        pictures = [c for c, f in table.features.items() if isinstance(f, datasets.Image)]
        for column in pictures:
            table = table.cast_column(column, datasets.Image(decode=False))
        for index, values in enumerate(table.remove_columns(pictures)):
            yield Row(values, index, config, split, table)

    def _load(self, config: str, split: str) -> datasets.Dataset:
        import datasets

        datasets.disable_progress_bars()
        names = split.split("|")
        if len(names) > 1:
            has = self._try(datasets.get_dataset_split_names, config or None,
                            revision=self.revision)  # fmt: skip
            names = [name for name in names if name in has] or names
        return self._try(datasets.load_dataset, config or None, split=names[0],
                         revision=self.revision, cache_dir=self._cache)  # fmt: skip

    @cached_property
    def _cache(self) -> str | None:
        """Where `datasets` keeps a folder's tables: to it, folders of one name are the same."""
        if self.folder is None:
            return None
        import datasets

        h = hashlib.sha256(str(self.folder.resolve()).encode())
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            about = path.stat()
            h.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
        return str(Path(datasets.config.HF_DATASETS_CACHE) / "folders" / h.hexdigest()[:32])

    def _try(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        import datasets

        if self.folder is not None:
            options.pop("revision", None)
        try:
            return function(str(self.folder or self.dataset), *arguments, **options)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            why = str(error).strip().splitlines()[0][:200]
            raise UserError(f"{self.benchmark.name}: {why}; {self.how_to_get()}") from error

    def open(self, *names: str) -> Path | io.BytesIO:
        """The file that is called one of `names` in the data set, or its zip member's bytes.

        A name matches the end of a path in a zip. UnreadableError if there is no such file.
        """
        for name in names:
            path = self._file(name)
            if path is not None:
                return path
        for name in names:
            for member, archive in self._members.items():
                if member == name or member.endswith(f"/{name}"):
                    with zipfile.ZipFile(archive) as opened:
                        return io.BytesIO(opened.read(member))
        raise UnreadableError(f"no file {names[0]} in {self.folder or self.dataset}")

    def _file(self, name: str) -> Path | None:
        if self.folder is not None:
            path = (self.folder / name).resolve()
            inside = path.is_relative_to(self.folder.resolve())
            return path if inside and path.exists() else None
        if name not in self._hub_files:
            return None
        return self._download(name)

    def _download(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(
            hf_hub_download(self.dataset, name, repo_type="dataset", revision=self.revision)
        )

    @cached_property
    def _hub_files(self) -> frozenset[str]:
        from huggingface_hub import list_repo_files

        names = list_repo_files(self.dataset, repo_type="dataset", revision=self.revision)
        return frozenset(names)

    @cached_property
    def _members(self) -> dict[str, Path]:
        """Every file in the data set's archives."""
        pattern = self.benchmark.archives
        if not pattern:
            return {}
        if self.folder is not None:
            archives = sorted(self.folder.rglob(pattern))
        else:
            names = sorted(n for n in self._hub_files if fnmatch.fnmatch(n, pattern))
            archives = [self._download(name) for name in names]
        members: dict[str, Path] = {}
        for archive in archives:
            try:
                with zipfile.ZipFile(archive) as opened:
                    members |= dict.fromkeys(opened.namelist(), archive)
            except zipfile.BadZipFile as error:
                raise UnreadableError(f"broken archive {archive.name}: {error}") from None
        return members
