"""The result database: one DuckDB file that journals are ingested into, and everything reads from.

    python -m eval.database ingest --journal runs/<key>/journal --run <key>
    python -m eval.database forget --run <key>
    python -m eval.database describe            # every column with its unit, as Markdown

Tasks write Parquet files into journal units (`zppo_core.records.schema`). One writer ingests them
in one transaction. Ingesting twice changes nothing; a torn or damaged file is refused by name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from zppo_core.config import Config
from zppo_core.errors import UserError
from zppo_core.records.schema import KEYS, SCHEMA_VERSION, TABLES, ShardError, decode

DEFAULT_DATABASE = "results/zppo.duckdb"
FLUSH_BYTES = 128 << 20  # rows held in memory before they are inserted


class JournalReader(Protocol):
    """What ingestion needs of `zppo_core.store.journal.Journal`."""

    def units(self, prefix: str = "") -> list[str]: ...

    def read(self, unit: str) -> Mapping[str, bytes] | None: ...


def query(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """All rows of a statement; fetching them to the end frees the connection for the next."""
    return connection.execute(sql, list(parameters)).fetchall()


def _sql(name: str) -> str:
    room = "zppo_core.records" if name == "schema.sql" else "eval.report"
    return (resources.files(room) / name).read_text(encoding="utf-8")


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
        connection = duckdb.connect(str(path), read_only=read_only)
    except duckdb.IOException as fault:
        text = str(fault).splitlines()[0]
        if "lock" in text.lower():
            holder = re.search(r"PID (\d+)", str(fault))
            who = f"process {holder.group(1)}" if holder else "another process"
            raise UserError(
                f"{path} is in use by {who}: wait for it or stop it, then again"
            ) from fault
        raise UserError(
            f"{path} cannot be opened ({text}): move it away or choose another --database"
        ) from fault
    except duckdb.ConnectionException as fault:
        raise UserError(f"{path} is already open in this process: close that first") from fault
    except OSError as fault:
        raise UserError(f"{path} cannot be created ({fault.strerror}): choose another") from fault
    try:
        _prepare(connection, path, read_only)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def open_database(path: str | Path, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """`connect` as a context: the connection is closed, and the file free, at its end."""
    connection = connect(path, read_only)
    try:
        yield connection
    finally:
        connection.close()


def _version(connection: duckdb.DuckDBPyConnection) -> int | None:
    exists = "SELECT 1 FROM information_schema.tables WHERE table_name = 'schema_version'"
    if not query(connection, exists):
        return None
    return query(connection, "SELECT max(version) FROM schema_version")[0][0]


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
                f"run `python -m eval.database upgrade --database {path}`"
            )
        return
    connection.begin()
    query(connection, _sql("schema.sql"))
    for table, columns in schema_columns().items():
        present = {r[0] for r in query(connection, f"DESCRIBE {table}")}
        for name, kind in columns.items():
            if name not in present:  # a column that came with a later version: null in old rows
                bare = kind.removesuffix(" NOT NULL")
                query(connection, f"ALTER TABLE {table} ADD COLUMN {name} {bare}")
    if version != SCHEMA_VERSION:
        query(connection, "INSERT INTO schema_version VALUES (?, ?)", [SCHEMA_VERSION, _now()])
    query(connection, _views())
    connection.commit()


def _views() -> str:
    """views.sql with the configuration's fields and defaults, which older runs may not have."""
    usual = Config().to_dict()
    fields = {
        section: dict.fromkeys(content, "JSON") if isinstance(content, dict) else "JSON"
        for section, content in sorted(usual.items())
    }
    filled = {"$DEFAULTS": Config().to_json(), "$FIELDS": json.dumps(fields, sort_keys=True)}
    text = _sql("views.sql")
    for mark, value in filled.items():
        text = text.replace(mark, value.replace("'", "''"))
    return text


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


_COLUMN = re.compile(r"^    (\w+) ([A-Z][A-Z\[\]]*(?: NOT NULL)?),  -- (.+)$")


def documentation() -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """Per table of schema.sql its sentence and its columns as (name, SQL type, meaning)."""
    tables: dict[str, tuple[str, list[tuple[str, str, str]]]] = {}
    comment, current = "", None
    for line in _sql("schema.sql").splitlines():
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


def _journal(source: JournalReader | str | Path) -> JournalReader:
    if not isinstance(source, (str, Path)):
        return source
    from zppo_core.store.journal import Journal
    from zppo_core.store.objects import open_store

    return Journal(open_store(str(source)), "")


class _Inserter:
    """Gathers decoded shards per table and inserts them in few statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.pending: dict[str, list[pa.Table]] = {}
        self.counts: dict[str, int] = {}
        self.held = 0

    def add(self, table: str, rows: pa.Table, source_id: int) -> None:
        marks = pa.array([source_id] * rows.num_rows, type=pa.int64())
        self.pending.setdefault(table, []).append(rows.append_column("source_id", marks))
        self.counts[table] = self.counts.get(table, 0) + rows.num_rows
        self.held += rows.nbytes
        if self.held > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        for table, parts in self.pending.items():
            self.connection.register("shard", pa.concat_tables(parts))
            query(self.connection, f"INSERT INTO {table} BY NAME SELECT * FROM shard")
            self.connection.unregister("shard")
        self.pending.clear()
        self.held = 0


def ingest(
    source: JournalReader | str | Path, run_key: str, database: str | Path = DEFAULT_DATABASE
) -> dict[str, int]:
    """Take every `<table>.parquet` of a run's journal into the database; rows added per table.

    `source` is a journal or the URL of one (folder or s3://). One transaction: all or nothing.
    Files already taken in, by (run, unit, file, SHA-256), are skipped, so a second call adds 0
    rows. Raises UserError naming unit and file if one is torn, has other columns, belongs to
    another run, repeats a row's key, or changed after it was taken in.
    """
    journal = _journal(source)
    with open_database(database, read_only=False) as connection:
        connection.begin()
        try:
            counts = _ingest(connection, journal, run_key)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        return counts


def _ingest(
    connection: duckdb.DuckDBPyConnection, journal: JournalReader, run_key: str
) -> dict[str, int]:
    known: dict[tuple[str, str], str] = {
        (unit, file): sha
        for unit, file, sha in query(
            connection, "SELECT unit, file, sha256 FROM ingested WHERE run_key = ?", [run_key]
        )
    }
    source_id = query(connection, "SELECT coalesce(max(source_id), 0) FROM ingested")[0][0]
    inserter = _Inserter(connection)
    entries: list[list[Any]] = []
    for unit in journal.units():
        files = journal.read(unit)
        if files is None:  # listed, but its manifest is not there yet: not committed
            continue
        for file, data in sorted(files.items()):
            table = file.removesuffix(".parquet")
            if table == file or table not in TABLES:
                continue
            where = f"run {run_key}, unit {unit}, {file}"
            sha = hashlib.sha256(data).hexdigest()
            if (unit, file) in known:
                if known[unit, file] != sha:
                    raise UserError(
                        f"{where}: changed since it was ingested; a run key names one run: "
                        f"`python -m eval.database forget --run {run_key}`, then ingest again"
                    )
                continue
            try:
                rows = decode(table, data)
            except ShardError as fault:
                raise UserError(f"{where}: refused: {fault}") from fault
            _check_run(rows, run_key, where)
            source_id += 1
            inserter.add(table, rows, source_id)
            entries.append([source_id, run_key, unit, file, sha, rows.num_rows, _now()])
    inserter.flush()
    if entries:
        names = [name for name, _, _ in documentation()["ingested"][1]]
        columns = zip(*entries, strict=True)
        connection.register("entries", pa.table(dict(zip(names, map(list, columns), strict=True))))
        query(connection, "INSERT INTO ingested BY NAME SELECT * FROM entries")
        connection.unregister("entries")
    for table in inserter.counts:
        _check_keys(connection, table, run_key)
    return {table: inserter.counts.get(table, 0) for table in TABLES}


def _check_run(rows: pa.Table, run_key: str, where: str) -> None:
    others = sorted({k for k in rows.column("run_key").unique().to_pylist() if k is not None})
    if others and others != [run_key]:
        other = next(k for k in others if k != run_key)
        raise UserError(f"{where}: refused: holds rows of run {other!r}")


def _check_keys(connection: duckdb.DuckDBPyConnection, table: str, run_key: str) -> None:
    key = ", ".join(KEYS[table])
    rows = query(
        connection,
        f"SELECT {key}, list(DISTINCT source_id) FROM {table} WHERE source_id IN "
        f"(SELECT source_id FROM ingested WHERE run_key = ?) GROUP BY {key} "
        f"HAVING count(*) > 1 ORDER BY {key} LIMIT 1",
        [run_key],
    )
    if not rows:
        return
    twice = rows[0]
    units = query(
        connection,
        "SELECT DISTINCT unit FROM ingested WHERE source_id IN (SELECT unnest(?)) ORDER BY unit",
        [twice[-1]],
    )
    values = ", ".join(f"{n}={v!r}" for n, v in zip(KEYS[table], twice[:-1], strict=True))
    raise UserError(
        f"run {run_key}: {table} has two rows with {values} (in {', '.join(u for (u,) in units)}): "
        "each row belongs to one unit"
    )


def forget(run_key: str, database: str | Path = DEFAULT_DATABASE) -> dict[str, int]:
    """Remove what a run's journal brought; rows removed per table. UserError if it is unknown."""
    with open_database(database, read_only=False) as connection:
        connection.begin()
        sources = "(SELECT source_id FROM ingested WHERE run_key = ?)"
        counts: dict[str, int] = {}
        for table in TABLES:
            removed = query(
                connection, f"DELETE FROM {table} WHERE source_id IN {sources}", [run_key]
            )
            counts[table] = removed[0][0]
        known = query(connection, "DELETE FROM ingested WHERE run_key = ?", [run_key])
        if not known[0][0]:
            connection.rollback()
            raise UserError(f"no run {run_key!r} in {database}")
        connection.commit()
        return counts


def describe() -> str:
    """Every table and column with type, unit and meaning, as Markdown."""
    parts = []
    for table, (sentence, columns) in documentation().items():
        lines = [f"### `{table}`", "", sentence, "", "| column | type | meaning [unit] |"]
        lines.append("| --- | --- | --- |")
        for name, kind, meaning in columns:
            escaped = meaning.replace("|", "\\|")
            lines.append(f"| `{name}` | {kind.removesuffix(' NOT NULL')} | {escaped} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m eval.database")
    parser.add_argument("command", choices=("ingest", "forget", "upgrade", "describe"))
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    parser.add_argument("--journal", help="folder or s3:// URL of the run's journal")
    parser.add_argument("--run", help="run key")
    options = parser.parse_args(arguments)
    try:
        if options.command == "describe":
            print(describe(), end="")
        elif options.command == "upgrade":
            connect(options.database).close()
        elif not options.run:
            raise UserError(f"{options.command} needs --run RUN_KEY")
        else:
            if options.command == "ingest":
                if not options.journal:
                    raise UserError("ingest needs --journal URL")
                counts = ingest(options.journal, options.run, options.database)
            else:
                counts = forget(options.run, options.database)
            print(", ".join(f"{table} {n}" for table, n in counts.items() if n) or "nothing new")
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0
