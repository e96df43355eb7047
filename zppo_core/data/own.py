"""Questions that a program hands over, as a table that a run can go back to."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from zppo_core.data.pixels import plain_bytes
from zppo_core.errors import UserError

Rows = Iterable[Mapping[str, object]]


@runtime_checkable
class Frame(Protocol):
    """What is asked of a table of pandas, which is not imported for it."""

    @property
    def columns(self) -> Iterable[Hashable]: ...
    def to_dict(self, orient: Literal["records"], /) -> Rows: ...


def table_of(questions: str | Path | Rows | Frame, folder: Path) -> str:
    """Where the questions are: the path or hub id itself, or a Parquet file below `folder`.

    The file is named after its content, so the same questions are the same file and a run finds
    them again. UserError if the rows are no table.
    """
    if isinstance(questions, (str, Path)):
        return str(questions)
    given = questions.to_dict("records") if isinstance(questions, Frame) else questions
    rows = [{name: plain(value) for name, value in row.items()} for row in given]
    if not rows:
        raise UserError("no questions were given; give rows with a question and an answer each")
    try:
        table = pa.Table.from_pylist(rows)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"the questions are no table ({why}); give each column one type") from None
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    data = buffer.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    if not path.is_file():
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_bytes(data)
        aside.replace(path)
    return str(path.resolve())


def plain(value: object) -> object:
    """A cell as Parquet holds it: pictures as PNG or JPEG bytes, lists of them likewise."""
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return plain_bytes(buffer.getvalue())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
