"""What two runs must have in common bit for bit, as names and digests; times are left out.

python tools/same_run.py FOLDER [KEY]     prints weights, optimizer, state, journal and database

FOLDER holds `runs`, a store with a run KEY ("run"), and `db.duckdb`.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

TIMES = ("seconds", "created_at", "ingested_at", "applied_at")  # how a column of times ends
ORDER = ("source_id", "tokens_per_second")  # the order of ingestion; made of times


def is_timed(column: str) -> bool:
    """Whether a column may differ between two equal runs."""
    return column.endswith(TIMES) or column in ORDER


def rows_digest(names: list[str], rows: Iterable[tuple[object, ...]], folder: str) -> str:
    """Of rows in any order, places below `folder` being the same in both runs."""
    kept = [i for i, name in enumerate(names) if not is_timed(name)]
    lines = sorted(repr([row[i] for i in kept]).replace(folder, "") for row in rows)
    return hashlib.sha256("\n".join([repr(names), *lines]).encode()).hexdigest()


def table_digest(data: bytes, folder: str) -> str:
    """Of a Parquet file of the journal."""
    table: pa.Table = pq.read_table(io.BytesIO(data))
    rows = (tuple(row.values()) for row in table.to_pylist())
    return rows_digest(table.column_names, rows, folder)


def journal_digests(place: Path, folder: str) -> dict[str, str]:
    """Of each unit's files, its manifest aside, which holds the sums of times too."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if not path.is_file() or path.name == "manifest.json" or "/.writing-" in f"/{name}":
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":
            found[f"journal/{name}"] = table_digest(data, folder)
        else:
            found[f"journal/{name}"] = hashlib.sha256(data).hexdigest()
    return found


def database_digests(path: Path, folder: str) -> dict[str, str]:
    """Of each table."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
        found = {}
        for table in tables:
            if table in ("ingested", "schema_versions") or table.startswith("run_"):
                continue
            rows = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description or []]
            found[f"database/{table}"] = rows_digest(names, rows.fetchall(), folder)
    return found


def digests(folder: Path, key: str = "run") -> dict[str, str]:
    """Everything of a run below `folder`: its checkpoints, journal and database."""
    run, place = folder / "runs" / key, str(folder)
    found = {}
    for path in sorted((run / "checkpoints").rglob("*")):
        name = str(path.relative_to(run))
        if path.is_file() and "/.writing-" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    found |= journal_digests(run / "journal", place)
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
