"""A run as one page that holds everything: pictures, styles, a small script and transcripts."""

from __future__ import annotations

import json

import duckdb

from eval.report.connection import open_database
from eval.report.progress import begun_of, progress
from eval.report.rows import RunRow
from eval.report.summary import find_run
from eval.report.transcripts import Pictures, chosen_steps, no_pictures, transcripts
from steps.cards.epoch import view
from steps.cards.page import page
from steps.cards.transcripts import pictures_of
from zppo_core.config.load import from_record
from zppo_core.errors import UserError
from zppo_core.run.corpus import build_corpus
from zppo_core.run.spec import Run

ROLLOUTS = 10_000
BUDGET = 4_700_000  # bytes of the transcripts; page and charts have the rest of 5 MB


def html_of(database: str, name: str | None, rollouts: int = ROLLOUTS) -> tuple[str, str]:
    """A run's key and its page; UserError if the database holds no such run."""
    with open_database(database) as connection:
        row = find_run(connection, name)
        run = run_of(connection, row, database)
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


def run_of(connection: duckdb.DuckDBPyConnection, row: RunRow, database: str) -> Run:
    """The run of a row of `runs`, with as many steps as it was to have or has."""
    text, steps = connection.execute(
        "SELECT config_json, (SELECT count(*) FROM steps WHERE run_key = ?) FROM runs "
        "WHERE run_key = ?",
        [row["run_key"]] * 2,
    ).fetchall()[0]
    config = from_record(json.loads(text))
    total = config.run.rollout_steps or steps
    root = config.store.root
    return Run(row["run_key"], config, str(row["created_at"]), root, "", database, total)


def pictures_at_hand(run: Run) -> tuple[Pictures, str]:
    """The pictures of the run's questions, or why there are none."""
    try:
        return pictures_of(build_corpus(run.config)), ""
    except (UserError, OSError) as fault:
        return no_pictures, f"No pictures: the run's corpus is not at hand ({fault})."
