"""The steps of eval_flow.py: one model, which no run of ours need have trained."""

from __future__ import annotations

from eval.harness import ScoreRow
from eval.models import evaluator_of, named_model
from eval.report.model_scores import conclude_model, scores_text
from eval.scores import ItemShare, run_share
from steps.cards.page import Card
from steps.cards.scores import draw
from steps.evaluate import drawing
from zppo_core.models.threads import set_threads
from zppo_core.run.spec import Artifact, Run


def evaluate_model(setup: Artifact, share: ItemShare, card: Card | None = None) -> list[ScoreRow]:
    """The model's rows of eval_scores for the share."""
    run = Run.of(setup)
    set_threads(run.config, alone=False)
    evaluator, _ = evaluator_of(run.config, run.cache)
    model = named_model(run.name, run.config)
    return run_share(run, evaluator, iter([model]), share, drawing(card, share, run))


def aggregate_model(setup: Artifact, card: Card | None = None) -> str:
    """Take the journal into the database; the scores as text."""
    run = Run.of(setup)
    rows = conclude_model(run)
    text = scores_text(run.name, rows)
    if card is not None:
        draw(card, run.name, rows, run.database)
    return f"{text}\ndatabase: {run.database}"
