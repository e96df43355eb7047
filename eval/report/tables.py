"""Tables from the result database.

zppo tables summary [--json] [--run KEY] [--database PATH]
zppo tables --table 3 [--format text|markdown|csv|latex] [--scale nano]
                      [--run KEY | --variant ID]
zppo tables --table all --out FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.render import FORMATS, render_all
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.paper_tables import TABLES, blocks
from eval.report.summary import summary, summary_text
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported

__all__ = ["summary", "summary_text"]
SUFFIXES = {"text": "txt", "markdown": "md", "csv": "csv", "latex": "tex"}


def write_all(
    database: str, folder: Path, scales: Sequence[str], variant: str = "", runs: Sequence[str] = ()
) -> list[str]:
    """Every table in every format below `folder`; what could not be made, and why."""
    faults = []
    folder.mkdir(parents=True, exist_ok=True)
    with open_database(database) as connection:
        for number in TABLES:
            try:
                tables = blocks(connection, number, scales, variant, runs)
            except UserError as fault:
                faults.append(f"Table {number}: {fault}")
                continue
            for form in FORMATS:
                path = folder / f"table{number:02d}.{SUFFIXES[form]}"
                path.write_text(render_all(tables, form), encoding="utf-8")
    return faults


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command("tables", __doc__ or "", "zppo tables --table 3 --scale nano")
    parser.add_argument("command", nargs="?", choices=("summary",))
    parser.add_argument("--json", action="store_true", help="summary: data instead of text")
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        help="run key or its beginning: that run alone; may be repeated for tables. Default of "
        "summary: the latest run, of tables: the configuration that was run most often",
    )
    parser.add_argument("--table", help=f"one of {', '.join(map(str, TABLES))}, or all")
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--scale", action="append", default=[], help="may be repeated")
    parser.add_argument("--variant", default="", help="another configuration than the most run one")
    parser.add_argument("--out", type=Path, default=Path("results/tables"), help="for all")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    o = parser.parse_args(arguments)
    if (o.command is None) == (o.table is None):
        parser.error("name `summary` or a --table")
    if o.command:
        if len(o.run) > 1:
            raise UserError("a summary is of one run: name one --run")
        data = summary(o.database, o.run[0] if o.run else None)
        print(json.dumps(data, indent=2) if o.json else summary_text(data))
    elif o.table == "all":
        for fault in write_all(o.database, o.out, o.scale, o.variant, o.run):
            print(fault, file=sys.stderr)
        print(f"tables in {o.out}")
    else:
        if not o.table.isdecimal():
            raise UserError(f"--table {o.table}: a number, or all")
        with open_database(o.database) as connection:
            tables = blocks(connection, int(o.table), o.scale, o.variant, o.run)
        print(render_all(tables, o.format))
        if o.format == "csv" and tables[0].note:  # which has no place for it
            print(tables[0].note, file=sys.stderr)
    return 0


@reported
def table_main(arguments: Sequence[str] | None = None) -> int:
    """`zppo table NUMBER`: as `main` with --table; 0, or 2 with a line for each fault."""
    parser = command(
        "table", f"A table of the paper: {', '.join(map(str, TABLES))}.", "zppo table 3"
    )
    parser.add_argument("number", help="or all")
    o, rest = parser.parse_known_args(arguments)
    return main(["--table", o.number, *rest])
