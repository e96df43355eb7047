"""The `cache_teacher` step: the teacher's visit-0 draws, made beforehand up to a budget."""

from __future__ import annotations

from steps.cards.page import Card
from steps.cards.teacher import TeacherCard
from zppo_core.run.draws import draw_beforehand
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.spec import Artifact, Run


def cache_teacher(setup: Artifact, card: Card | None = None) -> dict[str, object]:
    """Draws made, found and their tokens; see `draw_beforehand`."""
    run = Run.of(setup)
    if card is None:
        return draw_beforehand(run)
    heartbeat = Heartbeat()
    heartbeat.listener = drawn = TeacherCard(card, run)
    try:
        return draw_beforehand(run, heartbeat=heartbeat, look=drawn.look)
    finally:
        drawn.close()
