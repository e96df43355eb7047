"""`zppo show RUN`: a run as one HTML file, its curves and its transcripts, without a server.

The file holds everything: pictures, styles, a small script, and up to 10,000 rollouts as compressed
JSON. It is at most 5 MB, so that long texts of a large run are cut in their middle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb

from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.progress import begun_of, progress
from eval.report.rows import RunRow
from eval.report.summary import find_run
from eval.report.transcripts import Pictures, chosen_steps, no_pictures, transcripts
from steps.cards.epoch import view
from steps.cards.page import page
from steps.cards.transcripts import pictures_of
from zppo_core.config import from_dict
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.run.corpus import build_corpus
from zppo_core.run.spec import Run

ROLLOUTS = 10_000
BUDGET = 4_700_000  # bytes of the transcripts; page and charts have the rest of 5 MB


def html_of(database: str, name: str | None, rollouts: int = ROLLOUTS) -> tuple[str, str]:
    """A run's key and its page; UserError if the database holds no such run."""
    with open_database(database) as connection:
        found = find_run(connection, name)
        run = run_of(connection, found, database)
        pictures, fault = pictures_at_hand(run)
        rows = progress(connection, run.key)
        chosen = chosen_steps(connection, run.key, rollouts)
        written = transcripts(connection, run.key, chosen, pictures)
    begun = begun_of(rows)
    where = {
        "machine": begun["machine"],
        "code": begun["code_version"],
        "database": database,
        "store": f"{run.store_url}/{run.key}",
        "summary": f"zppo tables summary --run {run.key} --database {database}",
    }
    doing = f"{len(rows['steps'])} rollout steps, begun {begun['created_at']} UTC"
    parts = view(run, rows, written, doing, fault, where, BUDGET)
    return run.key, page(f"ZPPO: {run.key}", "".join(parts))


def run_of(connection: duckdb.DuckDBPyConnection, found: RunRow, database: str) -> Run:
    """The run of a row of `runs`, with as many steps as it was to have or has."""
    text, steps = connection.execute(
        "SELECT config_json, (SELECT count(*) FROM steps WHERE run_key = ?) FROM runs "
        "WHERE run_key = ?",
        [found["run_key"]] * 2,
    ).fetchall()[0]
    config = from_dict(json.loads(text))
    total = config.run.rollout_steps or steps
    root = config.store.root
    return Run(found["run_key"], config, str(found["created_at"]), root, "", database, total)


def pictures_at_hand(run: Run) -> tuple[Pictures, str]:
    """The pictures of the run's questions, or why there are none."""
    try:
        return pictures_of(build_corpus(run.config)), ""
    except (UserError, OSError) as fault:
        return no_pictures, f"No pictures: the run's corpus is not at hand ({fault})."


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command("show", __doc__ or "", "zppo show RUN --out run.html")
    parser.add_argument("run", nargs="?", help="run key or its beginning; default: the latest run")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    parser.add_argument("--out", default="", help="default: results/RUN.html")
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS, help="at most so many")
    options = parser.parse_args(arguments)
    if options.rollouts < 1:
        raise UserError(f"--rollouts {options.rollouts}: 1 or more")
    key, html = html_of(options.database, options.run, options.rollouts)
    path = Path(options.out or f"results/{key}.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8", errors="replace")
    except OSError as fault:
        raise UserError(f"{path} cannot be written ({fault.strerror}): choose --out") from fault
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
