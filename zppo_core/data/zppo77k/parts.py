"""The files of the two sources of ZPPO-77K: in folders, on S3, or on the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from zppo_core.data.files import is_place, table_files, undecoded
from zppo_core.data.zppo77k.rows import COLUMNS, RENAMED
from zppo_core.data.zppo77k.sources import Source


@dataclass(frozen=True)
class Part:
    """One file of a source; `config` names a Vero sub-dataset."""

    source: Source
    name: str
    config: str
    rows: Callable[[int], Iterable[Mapping[str, object]]]  # from a row number on


def parts_of(source: Source, place: str) -> Iterator[Part]:
    """The files of a folder, of an S3 prefix or of a hub id, in order; UserError if there are none.

    A folder is laid out as on the hub: `{config}/train-*.parquet` for Vero, `data/train-*.parquet`
    for MMFineReason; JSON lines and Arrow files are read too.
    """
    from datasets import disable_progress_bars

    disable_progress_bars()
    # the columns of teacher text are most of the bytes
    columns = set(COLUMNS[source]) | set(RENAMED)
    if is_place(place):
        for file in table_files(place, begins="train"):
            config = PurePosixPath(file.name).parent.name if source == "vero" else ""
            yield Part(source, file.name, config, partial(file.rows, columns))
        return
    from datasets import get_dataset_config_names

    for config in get_dataset_config_names(place):
        named = config if source == "vero" else ""
        yield Part(source, config, named, partial(hub_rows, place, config, columns))


def hub_rows(
    name: str, config: str, columns: set[str], start: int
) -> Iterable[Mapping[str, object]]:
    """The rows of a hub data set's config from number `start` on, images undecoded."""
    from datasets import load_dataset

    stream = load_dataset(name, name=config, split="train", streaming=True)
    result: Iterable[Mapping[str, object]] = undecoded(stream, columns).skip(start)
    return result
