"""The `plan_evaluation` and `evaluate` steps: base, student and teacher on the benchmarks."""

from __future__ import annotations

from eval import scores
from eval.benchmark import Benchmark
from eval.harness import ScoreRow
from eval.protocol import Evaluator
from eval.scores import Answers, Item, ItemShare
from eval.suite import load
from steps.cards.evaluation import examples_each, overview, view
from steps.cards.page import Card, put
from zppo_core.config.schema import method_of
from zppo_core.run.spec import Artifact, Run

Rows = list[ScoreRow]


def plan(setup: Artifact) -> list[ItemShare]:
    """The tasks of the fan-out, each with its benchmarks or parts of large ones."""
    return scores.plan(Run.of(setup))


def evaluate(setup: Artifact, share: ItemShare, card: Card | None = None) -> Rows:
    """Score base, student and teacher on the share; a row of eval_scores for each."""
    run = Run.of(setup)
    return scores.evaluate(run, share, drawing(card, share, run))


def drawing(card: Card | None, share: ItemShare, run: Run) -> scores.Show:
    """Draws scores and answers on `card`, one item below the other; nothing without one."""
    page: list[str] = []
    scored: Rows = []

    def show(
        item: Item, benchmark: Benchmark, rows: Rows, answers: Answers, exam: Evaluator
    ) -> None:
        if card is not None:
            protocol, config = exam.protocol, run.config
            samples = load(benchmark, protocol.source, protocol.limit, exam.settings)
            part = f", part {item['index'] + 1} of {item['of']}" if item["of"] > 1 else ""
            method, most = method_of(config).name, examples_each(len(share))
            page.extend(view(benchmark, rows, answers, samples, part, config.scale, method, most))
            scored.extend(rows)
            put(card, *(overview(scored) if len(share) > 1 else []), *page)

    return show
