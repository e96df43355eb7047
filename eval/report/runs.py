"""`zppo runs`: the runs of a store and of a database, the latest first.

A run that trains now shows the rollout steps that its journal has; scores are there once it is
evaluated and in the database. Accuracy is the mean over its benchmarks, of base and student.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from eval.render import number, table
from eval.report.connection import DEFAULT_DATABASE, open_database, query
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.records.phases import RUN_UNIT
from zppo_core.records.schema import decode
from zppo_core.store.journal import MANIFEST, Journal
from zppo_core.store.objects import DamagedObjectError, LocalStore, ObjectStore, open_store

SCORES = """
SELECT r.run_key, any_value(r.method), any_value(r.scale), any_value(r.seed),
       any_value(r.created_at), any_value(r.machine),
       (SELECT count(*) FROM steps s WHERE s.run_key = r.run_key),
       avg(c.score) FILTER (c.role = 'base'), avg(c.score) FILTER (c.role = 'student')
FROM runs r LEFT JOIN run_scores c USING (run_key) GROUP BY r.run_key
"""


@dataclass(frozen=True)
class RunLine:
    """A run in the list; scores are percentages, None where there are none."""

    run: str  # its key: the name, or scale-method-seed-id
    method: str
    scale: str
    seed: int
    steps: int  # rollout steps done
    total: int  # planned; 0: one pass over the corpus
    before: float | None
    after: float | None
    created: str  # ISO, UTC
    machine: str
    place: str  # store or database


def in_store(store: ObjectStore) -> Iterator[RunLine]:
    """The runs of `store` by their journals; a journal that cannot be read is named in a line."""
    for key in keys_of(store):
        journal = Journal(store, f"{key}/journal")
        try:
            row = decode("runs", (journal.read(RUN_UNIT) or {})["runs.parquet"]).to_pylist()[0]
            done = sum(unit.endswith("/update") for unit in journal.units("step-"))
        except (DamagedObjectError, KeyError) as fault:
            print(f"zppo: {key}: {fault}", file=sys.stderr)
            continue
        total = json.loads(row["config_json"])["run"].get("rollout_steps", 0)
        yield RunLine(
            key,
            row["method"],
            row["scale"],
            row["seed"],
            done,
            total,
            None,
            None,
            row["created_at"].isoformat(timespec="seconds"),
            row["machine"],
            f"{store.url}/{key}",
        )


def keys_of(store: ObjectStore) -> list[str]:
    """Keys of the runs in `store`; a local store's teacher cache is not read for it."""
    tail = f"journal/{RUN_UNIT}/{MANIFEST}"
    if isinstance(store, LocalStore):
        return sorted(f.name for f in Path(store.url).glob("*") if (f / tail).exists())
    return sorted(
        entry.key.removesuffix(f"/{tail}")
        for entry in store.entries()
        if entry.key.endswith(f"/{tail}")
    )


def in_database(path: str) -> list[RunLine]:
    """The runs of the database with their scores; none if there is no database."""
    if not Path(path).exists():
        return []
    with open_database(path) as connection:
        rows = query(connection, SCORES)
    return [_line(row, path) for row in rows]


def _line(row: Sequence[object], path: str) -> RunLine:
    key, method, scale, seed, created, machine, steps, before, after = row
    assert isinstance(created, datetime)
    assert isinstance(seed, int)
    assert isinstance(steps, int)
    first, last = (float(x) if isinstance(x, (int, float)) else None for x in (before, after))
    when = created.isoformat(timespec="seconds")
    texts = str(key), str(method), str(scale)
    return RunLine(*texts, seed, steps, 0, first, last, when, str(machine), path)


def listed(store: str, database: str) -> list[RunLine]:
    """Runs of both, one line a run, the latest first: steps from its journal, scores from SQL."""
    lines = {line.run: line for line in in_database(database)}
    for line in in_store(open_store(store)):
        scored = lines.get(line.run)
        scores = (None, None) if scored is None else (scored.before, scored.after)
        merged = {**asdict(line), "before": scores[0], "after": scores[1]}
        lines[line.run] = RunLine(**merged)
    return sorted(lines.values(), key=lambda line: (line.created, line.run), reverse=True)


def text(lines: Sequence[RunLine]) -> str:
    """The list as a table."""
    head = ("run", "method", "scale", "seed", "steps", "before", "after", "began (UTC)", "where")
    rows = [
        (
            line.run,
            line.method,
            line.scale,
            str(line.seed),
            f"{line.steps}/{line.total}" if line.total else str(line.steps),
            number(line.before),
            number(line.after),
            line.created,
            line.place,
        )
        for line in lines
    ]
    return table(head, rows)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo runs`; 0, or 2 with a line for each fault."""
    reader = command("runs", __doc__ or "", "zppo runs --store runs")
    reader.add_argument("--store", default="runs", metavar="URL", help="default: %(default)s")
    reader.add_argument(
        "--database", default=DEFAULT_DATABASE, metavar="PATH", help="default: %(default)s"
    )
    reader.add_argument("--json", action="store_true", help="print one JSON list")
    options = reader.parse_args(arguments)
    lines = listed(options.store, options.database)
    if options.json:
        print(json.dumps([asdict(line) for line in lines]))
    elif lines:
        print(text(lines))
    else:
        raise UserError(
            f"no run in {options.store} nor in {options.database}; start one by zppo run, or give "
            "--store and --database"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
