"""Rows and media of a data set: from the hub, or from a folder with copies under the hub ids.

Text columns are read at once, pictures and videos only when a sample is asked.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eval.archives import Archives, Found, Index, Stills, UnreadableError, walked
from eval.benchmark import Benchmark, Picture
from zppo_core.data.pixels import plain_bytes
from zppo_core.errors import UserError

if TYPE_CHECKING:
    import datasets


T = TypeVar("T")
COMMIT = re.compile(r"[0-9a-f]{40}")


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
        return lambda: (checked(self._stored(column), name),)

    def name_in(self, column: str) -> Callable[[], str]:
        """What `column` says, or the digest (hex) of the picture there, made when called.

        KeyError for no such column; the call raises UnreadableError if the picture cannot be read.
        """
        if column in self.values_of or column not in self.table.column_names:
            value = str(self.values_of[column])
            return lambda: value
        return lambda: hashlib.sha256(self._stored(column)).hexdigest()[:32]

    def _stored(self, column: str) -> bytes:
        """The bytes of a picture as the data set holds them."""
        cell = self.table.select_columns([column])[self.index][column]
        try:
            return bytes(cell["bytes"] or Path(cell["path"]).read_bytes())
        except (TypeError, KeyError, OSError) as error:
            raise UnreadableError(f"no picture in {column} of row {self.index}: {error}") from None


def checked(data: bytes, name: str) -> bytes:
    """`data` as PNG or JPEG as training sees it, unchanged if it is; UnreadableError if broken."""
    try:
        return plain_bytes(data)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"broken picture in {name}: {error}") from None


class Source:
    """The data set of `benchmark`: in the folder `root` (as `<root>/<hub id>`), or on the hub.

    `where` replaces the record's data set and revision by "hub/id" or "hub/id@revision". A folder
    under the id that the data set had before it moved is taken too.
    """

    def __init__(self, root: str, benchmark: Benchmark, where: str = "") -> None:
        self.benchmark = benchmark
        self.dataset, _, revision = (where or benchmark.pinned).partition("@")
        self._revision = revision or "main"
        names = [self.dataset] if where else [self.dataset, *benchmark.formerly]
        folders = [Path(root) / name for name in names] if root else []
        self.folder = next((f for f in folders if f.is_dir()), folders[0] if folders else None)
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"{benchmark.name}: no folder {self.folder}; {self.how_to_get()}")

    @property
    def revision(self) -> str | None:
        """The commit of the hub that is read; None of a folder, which is what it is."""
        return None if self.folder else commit_of(self.benchmark.name, self.dataset, self._revision)

    def how_to_get(self) -> str:
        """One line on how to get the data."""
        terms = " after accepting its terms on huggingface.co" if self.benchmark.gated else ""
        target = f" --local-dir {self.folder}" if self.folder else ""
        pin = f" --revision {self._revision}" if self._revision != "main" else ""
        return f"get it with `hf download --repo-type dataset {self.dataset}{pin}{target}`{terms}"

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
            has = self._try(
                datasets.get_dataset_split_names, config or None, revision=self.revision
            )
            names = [name for name in names if name in has] or names
        return self._try(
            datasets.load_dataset,
            config or None,
            split=names[0],
            revision=self.revision,
            cache_dir=self._cache,
        )

    @cached_property
    def _cache(self) -> str | None:
        """Where `datasets` keeps a folder's tables: to it, folders of one name are the same."""
        if self.folder is None:
            return None
        import datasets

        h = hashlib.sha256(str(self.folder.resolve()).encode())
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            stat = path.stat()
            h.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return str(Path(datasets.config.HF_DATASETS_CACHE) / "folders" / h.hexdigest()[:32])

    def _try(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        import datasets

        if self.folder is not None:
            options.pop("revision", None)
        try:
            return function(str(self.folder or self.dataset), *arguments, **options)
        # RuntimeError: a data set that is a script
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UserError(f"{self.benchmark.name}: {why}; {self.how_to_get()}") from error

    def open(self, *names: str) -> Found:
        """The file, or folder of stills, that is called one of `names` in the data set.

        As a path if it is loose, else from a zip. A name matches the end of a path; the first name
        that is there counts, loose ones before zips. UnreadableError if none is.
        """
        finders: tuple[Callable[[str], Found | None], ...] = (self._loose, self._zipped)
        for finder in finders:
            for name in names:
                file = finder(name)
                if file is not None:
                    return file
        # a broken archive may be where it lies
        why = "".join(f"; {fault}" for fault in self._archives.broken[:1])
        raise UnreadableError(f"no file {names[0]} in {self.folder or self.dataset}{why}")

    def _zipped(self, name: str) -> Found | None:
        return self._archives.find(name)

    def _loose(self, name: str) -> Found | None:
        path = self._index.find(name)
        if path is None:
            return None
        stills = self._index.folders.get(path)
        if self.folder is None:
            return self._download(path) if stills is None else None
        if stills is None:
            return self.folder / path
        return Stills(path, tuple(str(self.folder / still) for still in stills))

    @cached_property
    def _index(self) -> Index:
        """Loose files; of a folder those in it alone, whatever a name says of its parents."""
        return Index.of(walked(self.folder) if self.folder is not None else self._hub_files)

    def _download(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(
            hf_hub_download(self.dataset, name, repo_type="dataset", revision=self.revision)
        )

    @cached_property
    def _hub_files(self) -> list[str]:
        from huggingface_hub import list_repo_files

        return sorted(list_repo_files(self.dataset, repo_type="dataset", revision=self.revision))

    @cached_property
    def _archives(self) -> Archives:
        pattern = self.benchmark.archives
        if not pattern:
            return Archives([])
        if self.folder is not None:
            return Archives(sorted(self.folder.rglob(pattern)))
        return Archives([self._download(n) for n in self._hub_files if fnmatch.fnmatch(n, pattern)])


@lru_cache(maxsize=128)
def commit_of(name: str, dataset: str, revision: str) -> str:
    """The commit that `revision` of a data set on the hub is; a branch is looked up, and said.

    Rows and media of one process are of one commit, though the branch may move meanwhile. Where the
    hub cannot be asked, what `datasets` has kept of the branch is read.
    """
    if COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi().dataset_info(dataset, revision=revision).sha
    except (OSError, HfHubHTTPError):
        commit = None
    if commit is None:
        return revision
    print(
        f"zppo: {name} is read at {commit}, now the branch {revision} of {dataset}; to stay there: "
        f'evaluation.settings={{datasets = {{{name} = "{dataset}@{commit}"}}}}',
        file=sys.stderr,
    )
    return str(commit)
