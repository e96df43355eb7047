"""The `epoch` step: some rollout steps with the engines kept alive, drawn on a card."""

from __future__ import annotations

from steps.cards.epoch import EpochCard
from steps.cards.page import Card
from zppo_core.errors import UserError
from zppo_core.run.loop import After, advance, nobody
from zppo_core.run.session import Session
from zppo_core.run.spec import Artifact, Run
from zppo_core.store.checkpoint import latest_checkpoint


def epoch(
    setup: Artifact,
    steps_done: int,
    card: Card | None = None,
    after: After = nobody,
    rendezvous: str = "",
    fresh: bool = True,
) -> int:
    """Advance the run from `steps_done` by at most `run.steps_per_task`; the new count.

    `rendezvous` is where the hosts meet, if the configuration leaves that to flows/hosts_flow.py,
    where one process has many epochs: only the first is `fresh`.
    """
    run = Run.of(setup)
    config = run.config
    if config.compute.rendezvous == "auto" and not rendezvous:
        return trained_elsewhere(run)
    drawn: list[EpochCard] = []

    def listening(session: Session) -> EpochCard:
        drawn.append(EpochCard(card, session, run))
        return drawn[0]

    try:
        return advance(run, steps_done, listening, after, rendezvous, fresh)
    finally:
        for shown in drawn:
            shown.close()


def trained_elsewhere(run: Run) -> int:
    """The steps that flows/hosts_flow.py took; UserError if it is not done."""
    found = latest_checkpoint(run.store, run.key)
    if found is None or found.step < run.rollout_steps:
        raise UserError(
            "several hosts train by flows/hosts_flow.py; run it with this --name first, or start "
            "the others by hand with --set compute.rendezvous=HOST:29500"
        )
    return found.step
