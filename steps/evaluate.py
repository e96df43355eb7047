"""The `plan_evaluation` and `evaluate` steps: base, student and teacher on one benchmark."""

from __future__ import annotations

from eval import scores
from eval.benchmark import Benchmark
from eval.harness import ScoreRow
from eval.protocol import Evaluator
from eval.scores import Answers, Item
from eval.suite import load
from steps.cards.evaluation import draw
from steps.cards.page import Card
from zppo_core.config.schema import method_of
from zppo_core.run.spec import Artifact, Run

Rows = list[ScoreRow]


def plan(setup: Artifact) -> list[Item]:
    """One item for each benchmark of the run's suite, several for a large one."""
    return scores.plan(Run.of(setup))


def evaluate(setup: Artifact, item: Item, card: Card | None = None) -> Rows:
    """Score base, student and teacher on the item; a row of eval_scores each."""
    run = Run.of(setup)
    return scores.evaluate(run, item, drawing(card, item, run))


def drawing(card: Card | None, item: Item, run: Run) -> scores.Show:
    """Draws an item's scores and answers on `card`; nothing without one."""

    def show(benchmark: Benchmark, rows: Rows, answers: Answers, exam: Evaluator) -> None:
        if card is not None:
            protocol, config = exam.protocol, run.config
            samples = load(benchmark, protocol.source, protocol.limit, exam.settings)
            draw(
                card, benchmark, rows, answers, samples, item, config.scale, method_of(config).name
            )

    return show
