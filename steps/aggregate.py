"""The `aggregate` step: the run's journal into DuckDB, and the summary of what it learned."""

from __future__ import annotations

import time
from typing import Any

from eval.report import database, tables
from eval.scores import conclude
from zppo_core.errors import UserError
from zppo_core.run.setup import Setup, prefix_of
from zppo_core.store.journal import Journal
from zppo_core.store.objects import open_store

WAIT = 300.0  # seconds for other runs' ingestion: DuckDB has one writer at a time


def ingest_in_turn(journal: Journal, setup: Setup) -> dict[str, int]:
    """`database.ingest`, after whoever writes to the database now."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return database.ingest(journal, setup["run_key"], setup["database"])
        except UserError as error:
            if "is in use by" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def aggregate(setup: Setup, card: Any = None) -> dict[str, Any]:
    """Ingest every committed unit (twice changes nothing); the run's tables as text and data."""
    journal = Journal(open_store(setup["store"]), f"{prefix_of(setup)}/journal")
    conclude(setup)
    counts = ingest_in_turn(journal, setup)
    summary = tables.summary(setup["database"], setup["run_key"])
    text = tables.summary_text(summary)
    if card is not None:
        from steps.cards.summary import draw

        draw(card, setup, summary)
    where = (
        f"database: {setup['database']}\nstore:    {setup['store']}/{prefix_of(setup)}\n"
        "cards:    python flows/zppo_flow.py card server"
    )
    return {"counts": counts, "summary": summary, "text": f"{text}\n{where}"}
