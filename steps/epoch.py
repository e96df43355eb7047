"""The `epoch` step: some rollout steps with the engines kept alive, drawn on a card."""

from __future__ import annotations

from steps.cards.epoch import EpochCard
from steps.cards.page import Card
from zppo_core.run.loop import After, advance, nobody
from zppo_core.run.session import Session
from zppo_core.run.spec import Artifact, Run


def epoch(
    setup: Artifact,
    steps_done: int,
    card: Card | None = None,
    after: After = nobody,
) -> int:
    """Advance the run from `steps_done` by at most `run.steps_per_task`; the new count."""
    run = Run.of(setup)
    drawn: list[EpochCard] = []

    def listening(session: Session) -> EpochCard:
        drawn.append(EpochCard(card, session, run))
        return drawn[0]

    try:
        return advance(run, steps_done, listening, after)
    finally:
        for shown in drawn:
            shown.close()
