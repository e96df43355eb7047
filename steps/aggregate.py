"""The `aggregate` step: the run's journal into DuckDB, and the summary of what it learned."""

from __future__ import annotations

from typing import Any

from eval import database, tables
from steps.run_setup import Setup, prefix_of
from zppo_core.store.journal import Journal
from zppo_core.store.objects import open_store


def aggregate(setup: Setup, card: Any = None) -> dict[str, Any]:
    """Ingest every committed unit (twice changes nothing); the run's tables as text and data."""
    journal = Journal(open_store(setup["store"]), f"{prefix_of(setup)}/journal")
    counts = database.ingest(journal, setup["run_key"], setup["database"])
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
