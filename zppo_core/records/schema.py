"""The wire format of a run's records: a Parquet file a table, `<table>.parquet` in a journal unit.

Writers (training, evaluation) and the reader (`eval.report.database`) share the columns. They are
written once, in `schema.sql`, with type, unit and meaning; the Arrow schemas are read from it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 7  # raise it when a column is added, and say in docs/database.md what changed

_ARROW = {
    "VARCHAR": pa.string(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}
# of the database's file and not of a run's records
_OWN_TABLES = ("schema_version", "ingested")
_OWN_COLUMN = "source_id"  # of which ingested file a row is


def schema_sql() -> str:
    """The statements that create every table, each column with its meaning."""
    return resources.files("zppo_core.records").joinpath("schema.sql").read_text(encoding="utf-8")


_COLUMN = re.compile(r"^    (\w+) ([A-Z][A-Z\[\]]*(?: NOT NULL)?),  -- (.+)$")


def documentation() -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """Per table of schema.sql its sentence and its columns as (name, SQL type, meaning)."""
    tables: dict[str, tuple[str, list[tuple[str, str, str]]]] = {}
    comment, current = "", None
    for line in schema_sql().splitlines():
        if line.startswith("CREATE TABLE"):
            current = line.split()[-2]
            tables[current] = (comment, [])
        elif line.startswith("-- "):
            comment = line[3:]
        elif line == ");":
            current = None
        elif current:
            match = _COLUMN.match(line)
            if not match:
                raise ValueError(f"schema.sql: undocumented or malformed column: {line.strip()}")
            tables[current][1].append(match.groups())  # type: ignore[arg-type]
    return tables


def schema_columns() -> dict[str, dict[str, str]]:
    """Per table of schema.sql its columns and SQL types."""
    return {
        table: {name: kind for name, kind, _ in columns}
        for table, (_, columns) in documentation().items()
    }


def _arrow(columns: Mapping[str, str]) -> pa.Schema:
    """A table's wire format: its columns but for the one that ingestion adds."""
    fields = []
    for name, kind in columns.items():
        if name == _OWN_COLUMN:
            continue
        bare = kind.removesuffix(" NOT NULL")
        inner = _ARROW[bare.removesuffix("[]")]
        whole = pa.list_(inner) if bare.endswith("[]") else inner
        fields.append(pa.field(name, whole, nullable=bare == kind))
    return pa.schema(fields)


TABLES: dict[str, pa.Schema] = {
    table: _arrow(columns)
    for table, columns in schema_columns().items()
    if table not in _OWN_TABLES
}

# what identifies a row within one run: ingest refuses a second row with the same key. Two roles may
# have the same weights: a student that learned nothing, a teacher that is the base
KEYS: dict[str, tuple[str, ...]] = {
    "runs": ("run_key",),
    "steps": ("step",),
    "step_kinds": ("step", "kind"),
    "phases": ("step", "phase"),
    "groups": ("step", "uid"),
    "rollouts": ("step", "uid", "member"),
    "advantages": ("step", "uid", "member"),
    "teacher_draws": ("step", "question_id", "visit", "purpose", "draw"),
    "buffer_events": ("step", "question_id", "event"),
    "updates": ("step", "update_index"),
    "changes": ("number", "field"),
    "eval_samples": ("role", "model_key", "suite", "protocol_key", "benchmark", "sample_id"),
    "eval_scores": ("role", "model_key", "suite", "protocol_key", "benchmark"),
    "costs": ("step", "role", "activity", "model_params"),
}


class ShardError(ValueError):
    """A shard that cannot be taken as rows of its table; the text says which column and why."""


def conform(table: str, data: pa.Table) -> pa.Table:
    """`data` with exactly the columns and types of `TABLES[table]`.

    Columns that may be null are filled in when absent (files of an older version). Raises
    `ShardError` on an unknown or missing column, a value of another type, or a null where none
    may be.
    """
    schema = TABLES[table]
    unknown = sorted(set(data.column_names) - set(schema.names))
    if unknown:
        raise ShardError(f"{table}: unknown column {unknown[0]!r}")
    if len(set(data.column_names)) != len(data.column_names):
        raise ShardError(f"{table}: a column stands twice")
    columns = []
    for field in schema:
        if field.name not in data.column_names:
            if not field.nullable:
                raise ShardError(f"{table}: column {field.name!r} is missing")
            columns.append(pa.nulls(data.num_rows, field.type))
            continue
        column = data.column(field.name)
        if column.null_count and not field.nullable:
            raise ShardError(f"{table}.{field.name}: {column.null_count} nulls, none is allowed")
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
            raise ShardError(
                f"{table}.{field.name}: {column.type} is not {field.type}: {fault}"
            ) from fault
    return pa.table(columns, schema=schema)


def encode(table: str, rows: Sequence[Mapping[str, object]]) -> bytes:
    """The bytes of `<table>.parquet` for `rows` (dicts; nullable columns may be left out).

    The same rows give the same bytes, so that committing a journal unit again is a no-op. Raises
    `ShardError` as `conform` does, and on a key that is not a column.
    """
    schema = TABLES[table]
    names = set(schema.names)
    for row in rows:
        if not names.issuperset(row):
            raise ShardError(f"{table}: unknown column {sorted(set(row) - names)[0]!r}")
    columns = {}
    for field in schema:
        try:
            columns[field.name] = pa.array([row.get(field.name) for row in rows], type=field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as fault:
            raise ShardError(f"{table}.{field.name}: {fault}") from fault
    buffer = io.BytesIO()
    pq.write_table(conform(table, pa.table(columns)), buffer, compression="zstd")
    return buffer.getvalue()


def decode(table: str, data: bytes) -> pa.Table:
    """The rows in the bytes of `<table>.parquet`; raises `ShardError` if they are no such file."""
    try:
        # in this thread: one of Arrow's that gives a Python object back as the interpreter ends
        # takes the process down with SIGABRT
        rows = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowIOError, OSError) as fault:
        raise ShardError(f"{table}: not a readable Parquet file ({fault})") from fault
    return conform(table, rows)
