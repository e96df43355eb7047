"""What two runs must have in common bit for bit, as names and digests; times and costs aside.

python tools/same_run.py FOLDER [KEY]     prints weights, optimizer, state, journal and database

FOLDER holds `runs`, a store with a run KEY ("run"), and `db.duckdb`. Costs are left out because
a resumed run reads what its dead task had the teacher write from the cache, where it costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore

TIMES = ("seconds", "created_at", "ingested_at", "applied_at")  # how a column of times ends
# the order of ingestion; made of times; a commit between two runs changes no bit of either
ORDER = ("source_id", "tokens_per_second", "code_version")
COSTS = ("costs", "costs.parquet")  # tables
COST = {"teacher_draws": ("cached",)}  # and columns: what an earlier try left in the cache

_RECALLED = re.compile(rb'"recalled": \d+, ')


def is_free(table: str, column: str) -> bool:
    """Whether a column may differ between two equal runs."""
    return column.endswith(TIMES) or column in ORDER or column in COST.get(table, ())


def rows_digest(
    table: str, names: list[str], rows: Iterable[tuple[object, ...]], folder: str
) -> str:
    """Of rows in any order, places below `folder` being the same in both runs."""
    kept = [i for i, name in enumerate(names) if not is_free(table, name)]
    lines = sorted(repr([row[i] for i in kept]).replace(folder, "") for row in rows)
    return hashlib.sha256("\n".join([repr(names), *lines]).encode()).hexdigest()


def table_digest(name: str, data: bytes, folder: str) -> str:
    """Of a Parquet file of the journal."""
    table: pa.Table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    rows = (tuple(row.values()) for row in table.to_pylist())
    return rows_digest(name, table.column_names, rows, folder)


def journal_digests(journal: Journal, folder: str) -> dict[str, str]:
    """Of each file of each unit, as a reader gets it: a dead writer's may lie beside."""
    found = {}
    for unit in journal.units():
        for name, data in (journal.read(unit) or {}).items():
            if name in COSTS:
                continue
            if name == "asks.json":
                data = _RECALLED.sub(b"", data)
            stem, _, kind = name.rpartition(".")
            digest = hashlib.sha256(data).hexdigest()
            found[f"journal/{unit}/{name}"] = (
                table_digest(stem, data, folder) if kind == "parquet" else digest
            )
    return found


def database_digests(path: Path, folder: str) -> dict[str, str]:
    """Of each table."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
        found = {}
        for table in tables:
            if table in ("ingested", "schema_versions", *COSTS) or table.startswith("run_"):
                continue
            rows = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description or []]
            found[f"database/{table}"] = rows_digest(table, names, rows.fetchall(), folder)
    return found


def digests(folder: Path, key: str = "run") -> dict[str, str]:
    """Everything of a run below `folder`: its checkpoints, journal and database."""
    run, place = folder / "runs" / key, str(folder)
    found = {}
    for path in sorted((run / "checkpoints").rglob("*")):
        name = str(path.relative_to(run))
        if path.is_file() and "/.writing-" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    found |= journal_digests(Journal(LocalStore(folder / "runs"), f"{key}/journal"), place)
    return found | database_digests(folder / "db.duckdb", place)


def differing(left: dict[str, str], right: dict[str, str]) -> list[str]:
    """What is in one alone, or not the same in both."""
    return sorted(name for name in {*left, *right} if left.get(name) != right.get(name))


def main(folder: str, key: str = "run") -> None:
    """Print each digest, and one of all."""
    found = digests(Path(folder).resolve(), key)
    print(json.dumps(found, indent=1))
    print(hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest())


if __name__ == "__main__":
    main(*sys.argv[1:])
