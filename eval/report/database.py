"""The result database: one DuckDB file that journals are ingested into, and everything reads from.

    zppo database ingest --journal runs/<key>/journal --run <key>
    zppo database forget --run <key>
    zppo database describe            # every column with its unit, as Markdown

Tasks write Parquet files into journal units (`zppo_core.records.schema`). One writer ingests them
in one transaction. Ingesting twice changes nothing; a torn or damaged file is refused by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from eval.report.connection import DEFAULT_DATABASE, WAIT, connect, now, open_database, query
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.records.schema import KEYS, TABLES, ShardError, decode, documentation
from zppo_core.store.journal import Journal
from zppo_core.store.objects import open_store

FLUSH_BYTES = 128 << 20  # rows held in memory before they are inserted


class JournalReader(Protocol):
    """What ingestion needs of `zppo_core.store.journal.Journal`."""

    def units(self, prefix: str = "") -> list[str]: ...

    def read(self, unit: str) -> Mapping[str, bytes] | None: ...


def _journal(source: JournalReader | str | Path) -> JournalReader:
    if not isinstance(source, (str, Path)):
        return source
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
    source: JournalReader | str | Path,
    run_key: str,
    database: str | Path = DEFAULT_DATABASE,
    wait: float = WAIT,
) -> dict[str, int]:
    """Take every `<table>.parquet` of a run's journal into the database; rows added per table.

    `source` is a journal or the URL of one (folder or s3://). One transaction: all or nothing.
    Files already taken in, by (run, unit, file, SHA-256), are skipped, so a second call adds 0
    rows. Raises UserError naming unit and file if one is torn, has other columns, belongs to
    another run, repeats a row's key, or changed after it was taken in. Waits up to `wait` seconds
    for another process that has the database open.
    """
    journal = _journal(source)
    with open_database(database, read_only=False, wait=wait) as connection:
        connection.begin()
        try:
            counts = _ingest(connection, journal, run_key)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        return counts


def ingest_new(
    source: JournalReader | str | Path,
    run_key: str,
    database: str | Path = DEFAULT_DATABASE,
    wait: float = WAIT,
) -> dict[str, int]:
    """`ingest` of the units that the database does not have yet: what a run in progress adds.

    Units that were taken in are not read again, so that the time depends on what is new. Whether
    they are still what they were is checked by `ingest` at the run's end.
    """
    journal = _journal(source)
    with open_database(database, read_only=False, wait=wait) as connection:
        connection.begin()
        try:
            sql = "SELECT DISTINCT unit FROM ingested WHERE run_key = ?"
            seen = {unit for (unit,) in query(connection, sql, [run_key])}
            units = [unit for unit in journal.units() if unit not in seen]
            counts = _take_in(connection, journal, run_key, units, {})
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        return counts


def _ingest(
    connection: duckdb.DuckDBPyConnection, journal: JournalReader, run_key: str
) -> dict[str, int]:
    ingested: dict[tuple[str, str], str] = {
        (unit, file): sha
        for unit, file, sha in query(
            connection, "SELECT unit, file, sha256 FROM ingested WHERE run_key = ?", [run_key]
        )
    }
    for unit, file in _lost(connection, run_key):
        print(f"run {run_key}: rows of {unit}, {file} are gone and are taken in again", flush=True)
        del ingested[unit, file]
    return _take_in(connection, journal, run_key, journal.units(), ingested)


def _take_in(
    connection: duckdb.DuckDBPyConnection,
    journal: JournalReader,
    run_key: str,
    units: Sequence[str],
    ingested: Mapping[tuple[str, str], str],
) -> dict[str, int]:
    """Insert the files of `units` but for those `ingested`, as (unit, file) with their SHA-256."""
    source_id = query(connection, "SELECT coalesce(max(source_id), 0) FROM ingested")[0][0]
    inserter = _Inserter(connection)
    entries: list[list[object]] = []
    for unit in units:
        files = journal.read(unit)
        if files is None:  # listed, but its manifest is not there yet: not committed
            continue
        for file, data in sorted(files.items()):
            table = file.removesuffix(".parquet")
            if table == file or table not in TABLES:
                continue
            where = f"run {run_key}, unit {unit}, {file}"
            sha = hashlib.sha256(data).hexdigest()
            if (unit, file) in ingested:
                if ingested[unit, file] != sha:
                    raise UserError(
                        f"{where}: changed since it was ingested; a run key names one run: "
                        f"`zppo database forget --run {run_key}`, then ingest again"
                    )
                continue
            try:
                rows = decode(table, data)
            except ShardError as fault:
                raise UserError(f"{where}: refused: {fault}") from fault
            _check_run(rows, run_key, where)
            source_id += 1
            inserter.add(table, rows, source_id)
            entries.append([source_id, run_key, unit, file, sha, rows.num_rows, now()])
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


def _lost(connection: duckdb.DuckDBPyConnection, run_key: str) -> list[tuple[str, str]]:
    """Files of the run whose rows are no longer all there; what is left of them is removed."""
    lost = []
    for table in TABLES:
        short = query(
            connection,
            "SELECT i.source_id, i.unit, i.file FROM ingested i LEFT JOIN "
            f"(SELECT source_id, count(*) AS n FROM {table} GROUP BY source_id) t "
            "USING (source_id) WHERE i.run_key = ? AND i.file = ? "
            "AND coalesce(t.n, 0) <> i.row_count ORDER BY i.source_id",
            [run_key, f"{table}.parquet"],
        )
        for source_id, unit, file in short:
            query(connection, f"DELETE FROM {table} WHERE source_id = ?", [source_id])
            query(connection, "DELETE FROM ingested WHERE source_id = ?", [source_id])
            lost.append((unit, file))
    return lost


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
        deleted = query(connection, "DELETE FROM ingested WHERE run_key = ?", [run_key])
        if not deleted[0][0]:
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


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command(
        "database", __doc__ or "", "zppo database ingest --journal runs/KEY/journal --run KEY"
    )
    parser.add_argument("command", choices=("ingest", "forget", "upgrade", "describe"))
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    parser.add_argument("--journal", help="folder or s3:// URL of the run's journal")
    parser.add_argument("--run", help="run key")
    options = parser.parse_args(arguments)
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
    return 0
