"""The `plan_evaluation` and `evaluate` steps: base, student and teacher on one benchmark."""

from __future__ import annotations

from eval import scores
from eval.benchmark import Benchmark
from eval.harness import SampleRow, ScoreRow
from eval.scores import Item
from steps.cards.blocks import Card
from steps.cards.evaluation import draw
from zppo_core.run.spec import Artifact, Run

Rows = list[ScoreRow]


def plan(setup: Artifact) -> list[Item]:
    """One item for each benchmark of the run's suite, several for a large one."""
    return scores.plan(Run.of(setup))


def evaluate(setup: Artifact, item: Item, card: Card | None = None) -> Rows:
    """Score base, student and teacher on the item; a row of eval_scores each."""
    return scores.evaluate(Run.of(setup), item, drawing(card, item))


def drawing(card: Card | None, item: Item) -> scores.Show:
    """Draws an item's scores on `card`; nothing without one."""

    def show(benchmark: Benchmark, rows: Rows, samples: list[SampleRow]) -> None:
        if card is not None:
            draw(card, benchmark, rows, samples, item)

    return show
