"""The database's file: opened, waited for, brought to this code's schema, found damaged."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from zppo_core.config import Config
from zppo_core.errors import UserError
from zppo_core.records.schema import SCHEMA_VERSION, schema_columns, schema_sql
from zppo_core.store.disk import refusal

DEFAULT_DATABASE = "results/zppo.duckdb"


def query(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """All rows of a statement; fetching them to the end frees the connection for the next."""
    return connection.execute(sql, list(parameters)).fetchall()


def _sql(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")


# what DuckDB says of a file whose content is not what was written
DAMAGED = re.compile(
    r"corrupt|checksum|could not read enough bytes|out of bounds|failed to (?:load|deserialize)"
    r"|serialization|read past end",
    re.IGNORECASE,
)
# nothing is fetched from the network because a file looks like another database's
CLOSED: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
WAIT = 300.0  # seconds for whoever writes to the database now: DuckDB has one writer at a time


class DatabaseInUseError(UserError):
    """Another process has the database open."""


def damaged(path: str | Path, fault: duckdb.Error) -> UserError:
    """The one line of a database that cannot be read as it was written."""
    return UserError(
        f"{path} is damaged ({str(fault).splitlines()[0][:120]}): move it away, then bring each "
        "run back by `zppo database ingest JOURNAL --run KEY`"
    )


def connect(path: str | Path, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open the database; a writer creates it and brings it to `SCHEMA_VERSION`.

    Raises UserError if the file is missing (readers), held by another process, no DuckDB file, or
    of a newer schema than this code.
    """
    path = Path(path)
    if read_only and not path.exists():
        raise UserError(f"no database at {path}: run the pipeline first (make run), or --database")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not read_only:
            _sweep_empty(path)
        connection = duckdb.connect(str(path), read_only=read_only, config=CLOSED)
    except duckdb.IOException as fault:
        text = str(fault).splitlines()[0]
        if "lock" in text.lower():
            holder = re.search(r"PID (\d+)", str(fault))
            process = f"process {holder.group(1)}" if holder else "another process"
            raise DatabaseInUseError(
                f"{path} is in use by {process}: wait for it or stop it, then again"
            ) from fault
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{path} is empty: its first run has not been ingested yet") from fault
        if DAMAGED.search(text):
            raise damaged(path, fault) from fault
        raise UserError(
            f"{path} cannot be opened ({text}): move it away or choose another --database"
        ) from fault
    except duckdb.ConnectionException as fault:
        raise UserError(f"{path} is already open in this process: close that first") from fault
    except duckdb.Error as fault:  # a header or a block that is not what was written
        raise damaged(path, fault) from fault
    except OSError as fault:
        raise UserError(f"{path} cannot be created ({fault.strerror}): choose another") from fault
    try:
        _prepare(connection, path, read_only)
    except duckdb.Error as fault:
        connection.close()
        raise damaged(path, fault) from fault
    except BaseException:
        connection.close()
        raise
    return connection


def _sweep_empty(path: Path) -> None:
    """Remove a file of no bytes, which a full disk or a kill left of a first ingestion.

    A file that another process has just created is locked by it, and stays.
    """
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_size == 0:
                path.unlink()
    except OSError:  # not there, or held: `duckdb.connect` says which
        return


@contextmanager
def open_database(
    path: str | Path, read_only: bool = True, wait: float = WAIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    """`connect` as a context: the connection is closed, and the file free, at its end.

    Waits up to `wait` seconds for a process that has the file open. UserError if the file is
    damaged, also where that shows only when a block is read.
    """
    connection = _in_turn(path, read_only, wait)
    try:
        yield connection
    except duckdb.Error as fault:
        if DAMAGED.search(str(fault)):
            raise damaged(path, fault) from fault
        if why := refusal(fault):
            raise UserError(
                f"{path} cannot be written ({why}): free space or make it writable, then `resume`"
            ) from fault
        raise
    finally:
        connection.close()


def _in_turn(path: str | Path, read_only: bool, wait: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + wait
    announced = False
    while True:
        try:
            return connect(path, read_only)
        except DatabaseInUseError as busy:
            if time.monotonic() >= deadline:
                raise
            if not announced:
                print(f"{busy}; waiting up to {wait:.0f} s", file=sys.stderr, flush=True)
                announced = True
            time.sleep(min(1.0, max(0.05, wait / 10)))


def _version(connection: duckdb.DuckDBPyConnection) -> int | None:
    exists = "SELECT 1 FROM information_schema.tables WHERE table_name = 'schema_version'"
    if not query(connection, exists):
        return None
    version: int | None = query(connection, "SELECT max(version) FROM schema_version")[0][0]
    return version


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path, read_only: bool) -> None:
    """Check the version; for a writer also create what is missing and refresh the views."""
    version = _version(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema {version}, this code knows {SCHEMA_VERSION}: update the project"
        )
    if read_only:
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path} has schema {version}, this code needs {SCHEMA_VERSION}: "
                f"run `zppo database upgrade --database {path}`"
            )
        return
    views = _views()
    digest = hashlib.sha256(f"{SCHEMA_VERSION} {schema_sql()} {views}".encode()).hexdigest()
    if version == SCHEMA_VERSION and _made_last(connection) == digest:
        return  # a step is taken in every few seconds: making all of it anew took half of that
    connection.begin()
    query(connection, schema_sql())
    for table, columns in schema_columns().items():
        present = {r[0] for r in query(connection, f"DESCRIBE {table}")}
        for name, kind in columns.items():
            if name not in present:  # a column that came with a later version: null in old rows
                bare = kind.removesuffix(" NOT NULL")
                query(connection, f"ALTER TABLE {table} ADD COLUMN {name} {bare}")
    if version != SCHEMA_VERSION:
        query(connection, "INSERT INTO schema_version VALUES (?, ?)", [SCHEMA_VERSION, now()])
    query(connection, views)
    query(connection, f"COMMENT ON TABLE schema_version IS '{digest}'")
    connection.commit()


def _made_last(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The digest of the tables and views that were made last, kept as a table's comment."""
    sql = "SELECT comment FROM duckdb_tables() WHERE table_name = 'schema_version'"
    comment: str | None = query(connection, sql)[0][0]
    return comment


def _views() -> str:
    """views.sql with the configuration's fields and defaults, which older runs may not have."""
    usual = Config().to_dict()
    fields = {
        section: dict.fromkeys(content, "JSON") if isinstance(content, dict) else "JSON"
        for section, content in sorted(usual.items())
    }
    filled = {"$DEFAULTS": Config().to_json(), "$FIELDS": json.dumps(fields, sort_keys=True)}
    text = _sql("eval.report", "views.sql")
    for mark, value in filled.items():
        text = text.replace(mark, value.replace("'", "''"))
    return text


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
