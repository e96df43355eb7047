"""Rows of a table file, cell types as the file has them; a damaged row is named by its number."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import SupportsFloat

import pyarrow as pa
import pyarrow.parquet as pq

from zppo_core.data.values import DEPTH, Decimals, is_deep

BATCH = 64  # rows decoded at once: they may hold pictures
TOO_DEEP = f"nested too deeply (more than {DEPTH} levels)"
MOST_LINE = 1 << 28  # bytes of a line
Numbered = Iterator[tuple[int, Mapping[str, object]]]


class RowError(Exception):
    """A row that cannot be read: its number from 1, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row = row


def numbered(form: str, path: Path, columns: Collection[str], start: int) -> Numbered:
    """(number from 1, row) of a file from its row `start` + 1 on; all columns if none are named.

    RowError on a row that cannot be read.
    """
    number = start
    try:
        for number, row in READERS[form](path, columns, start):
            yield number, row
    except RowError:
        raise
    except Exception as error:  # pyarrow, json, csv and the codecs raise many kinds
        raise RowError(number + 1, _reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"not UTF-8 (byte 0x{byte:02x}); convert the file with iconv"
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return "".join(c for c in first if c.isprintable())[:200]


def _parquet(path: Path, columns: Collection[str], start: int) -> Numbered:
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        present = _present(file.schema_arrow, columns)
        number = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if number + rows <= start:
                number += rows
                continue
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=present):
                yield from _rows_of(batch, number, start)
                number += batch.num_rows


def _arrow(path: Path, columns: Collection[str], start: int) -> Numbered:
    number = 0
    with pa.OSFile(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
            batches: Iterator[pa.RecordBatch] = map(file.get_batch, range(file.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            file = pa.ipc.open_stream(source)
            batches = iter(file)
        present = _present(file.schema, columns)
        for whole in batches:
            whole.validate(full=True)
            batch = whole.select(present)
            for first in range(0, batch.num_rows, BATCH):
                yield from _rows_of(batch.slice(first, BATCH), number + first, start)
            number += batch.num_rows


def _present(schema: pa.Schema, columns: Collection[str]) -> list[str]:
    if not schema.names:
        raise RowError(1, "the file has no columns")
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice:
        raise RowError(1, f"column {min(twice)!r} stands there twice")
    return [name for name in schema.names if not columns or name in columns]


def _rows_of(batch: pa.RecordBatch, number: int, start: int) -> Numbered:
    """The rows of `batch`, of which `number` lie before, behind the first `start` of the file."""
    skip = max(0, start - number)
    batch = batch.slice(skip)
    convert = {f.name: c for f in batch.schema if (c := _converter(f.type)) is not None}
    try:
        rows = batch.to_pylist()
    except Exception:
        rows = []  # one by one, to find the row
    for i in range(batch.num_rows):
        here = number + skip + i + 1
        try:
            row = rows[i] if rows else batch.slice(i, 1).to_pylist()[0]
            for name, change in convert.items():
                row[name] = change(row[name])
        except Exception as error:
            raise RowError(here, _reason(error)) from error
        yield here, row


def _converter(kind: pa.DataType) -> Callable[[object], object] | None:
    """What makes the Python value of a cell what was meant; None: it is so already."""
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return _shortest
    if isinstance(kind, pa.JsonType):
        return _json_cell
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _converter(kind.value_type)
        return None if inner is None else partial(_each, inner)
    if pa.types.is_struct(kind):
        fields = {f.name: c for f in kind if (c := _converter(f.type)) is not None}
        return partial(_fields, fields) if fields else None
    return None


def _json_cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    content = json.loads(value, parse_float=Decimals)
    if is_deep(content):
        raise ValueError(TOO_DEEP)
    return content


def _shortest(value: object) -> object:
    """A float32 by the fewest digits that name it: 0.1, not 0.10000000149."""
    import numpy as np

    return float(str(np.float32(value))) if isinstance(value, SupportsFloat) else value


def _each(change: Callable[[object], object], values: object) -> object:
    return [change(v) for v in values] if isinstance(values, list) else values


def _fields(changes: Mapping[str, Callable[[object], object]], value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {k: changes[k](v) if k in changes else v for k, v in value.items()}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of each line; RowError on one that is not UTF-8, or endless."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_LINE):
            number += 1
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise RowError(1, "not UTF-8 but UTF-16; convert the file with iconv")
            if len(line) == MOST_LINE:
                raise RowError(number, f"a line of more than {MOST_LINE} bytes")
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise RowError(number, _reason(error)) from error


def _json(path: Path, columns: Collection[str], start: int) -> Numbered:
    """JSON lines, or one array of objects, or one object whose only list of objects it is."""
    for at, value in _json_values(path):
        if at > start:
            yield at, _object(value, at, columns)


def _json_values(path: Path) -> Iterator[tuple[int, object]]:
    lines = ((number, line) for number, line in _lines(path) if line.strip())
    number, line = next(lines, (0, ""))
    if not line:
        return
    opening, closing = line.lstrip()[:1], line.rstrip()[-1:]
    if opening == "[" or (opening == "{" and closing != "}"):  # it goes on below
        whole = "".join([line, *(more for _, more in lines)]).lstrip()
        yield from _array(whole) if opening == "[" else _only_list(_parsed(whole, number), number)
        return
    value = _parsed(line, number)
    following = next(lines, None)
    if following is None:
        yield from _only_list(value, number)
        return
    yield number, value
    for at, more in chain([following], lines):
        yield at, _parsed(more, at)


def _array(text: str) -> Iterator[tuple[int, object]]:
    """The elements of a JSON array, counted from 1."""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=Decimals)
    at, number = 1, 1
    while True:
        at = _past_space(text, at)
        if text[at : at + 1] == "]" and number == 1:
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise RowError(number, _json_reason(error)) from error
        yield number, value
        at = _past_space(text, at)
        if text[at : at + 1] == "]":
            if text[at + 1 :].strip():
                raise RowError(number + 1, "more text behind the end of the array")
            return
        if text[at : at + 1] != ",":
            raise RowError(number + 1, "the array is cut, or a comma is missing")
        at, number = at + 1, number + 1


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _only_list(value: object, number: int) -> Iterator[tuple[int, object]]:
    """The rows of `{"data": [{...}, ...]}`, whatever it calls them; else the object as one row."""
    cells = value.values() if isinstance(value, dict) and len(value) == 1 else ()
    lists = [v for v in cells if isinstance(v, list) and v and isinstance(v[0], dict)]
    if not lists or {"role", "from"} & set(lists[0][0]):
        yield number, value
        return
    yield from enumerate(lists[0], 1)


def _parsed(text: str, number: int) -> object:
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_float=Decimals)
    except (ValueError, RecursionError) as error:
        raise RowError(number, _json_reason(error)) from error


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no valid JSON ({error.msg} at character {error.pos + 1})"
    return _reason(error)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return value


def _object(value: object, number: int, columns: Collection[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        what = "null" if value is None else type(value).__name__
        raise RowError(number, f"{what}, not an object with named values")
    if is_deep(value):
        raise RowError(number, TOO_DEEP)
    return {k: v for k, v in value.items() if not columns or k in columns}


def _csv(path: Path, columns: Collection[str], start: int) -> Numbered:
    """Every cell is text, so that 007 stays; an empty one is None."""
    csv.field_size_limit(MOST_LINE)  # a picture as text is longer than the default
    lines = (line for _, line in _lines(path))
    first = next(lines, None)
    if first is None:
        return
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = next(reader)
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise RowError(1, f"column {min(twice)!r} stands there twice")
    number = 0
    while True:
        try:
            cells = next(reader, None)
        except (RowError, csv.Error) as error:  # it counts lines, and a row may have several
            raise RowError(number + 1, str(error)) from error
        if cells is None:
            return
        if not cells:
            continue
        number += 1
        if len(cells) != len(header):
            raise RowError(number, f"{len(cells)} cells under {len(header)} columns")
        if number > start:
            row = zip(header, cells, strict=True)
            yield number, {k: v or None for k, v in row if not columns or k in columns}


Reader = Callable[[Path, Collection[str], int], Numbered]
READERS: dict[str, Reader] = {"parquet": _parquet, "arrow": _arrow, "json": _json, "csv": _csv}
