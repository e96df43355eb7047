"""The `aggregate` step: the run's journal into DuckDB, and the summary of what it learned."""

from __future__ import annotations

from eval.report import database, tables
from eval.report.connection import WAIT
from eval.report.progress import progress_of
from eval.scores import conclude
from steps.cards.page import Card
from steps.cards.places import next_steps
from steps.cards.summary import draw
from steps.ending import ending
from zppo_core.run.setup import sweep_stores
from zppo_core.run.spec import Artifact, Run


def aggregate(setup: Artifact, card: Card | None = None) -> dict[str, object]:
    """Ingest every committed unit (twice changes nothing); the run's tables as text and data."""
    run = Run.of(setup)
    conclude(run)
    sweep_stores(run)
    counts = database.ingest(run.journal, run.key, run.database)
    summary = tables.summary(run.database, run.key)
    text = tables.summary_text(summary)
    if card is not None:
        draw(card, summary, progress_of(run.database, run.key, wait=WAIT), next_steps(run))
    return {"counts": counts, "summary": summary, "text": f"{text}\n{ending(run, summary)}"}
