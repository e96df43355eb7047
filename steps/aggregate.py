"""The `aggregate` step: the run's journal into DuckDB, and the summary of what it learned."""

from __future__ import annotations

import time
from typing import Any

from eval.report import database, tables
from eval.scores import conclude
from steps.cards.summary import draw
from zppo_core.errors import UserError
from zppo_core.run.spec import Artifact, Run

WAIT = 300.0  # seconds for other runs' ingestion: DuckDB has one writer at a time


def ingest_in_turn(run: Run) -> dict[str, int]:
    """`database.ingest`, after whoever writes to the database now."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return database.ingest(run.journal, run.key, run.database)
        except UserError as error:
            if "is in use by" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def aggregate(setup: Artifact, card: Any = None) -> dict[str, Any]:
    """Ingest every committed unit (twice changes nothing); the run's tables as text and data."""
    run = Run.of(setup)
    conclude(run)
    counts = ingest_in_turn(run)
    summary = tables.summary(run.database, run.key)
    text = tables.summary_text(summary)
    if card is not None:
        draw(card, summary)
    where = (
        f"database: {run.database}\nstore:    {run.store_url}/{run.key}\n"
        "cards:    python flows/zppo_flow.py card server"
    )
    return {"counts": counts, "summary": summary, "text": f"{text}\n{where}"}
