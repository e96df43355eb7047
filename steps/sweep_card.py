"""What a sweep's card shows: its members by name, from their notes and the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from steps.cards.page import Card
from steps.cards.sweep import Row, draw
from steps.sweep import Sweep, ledger, members
from zppo_core.run.setup import absolute


def draw_sweep(card: Card, sweep: Sweep, results: Sequence[Mapping[str, str]] = ()) -> None:
    """Draw the sweep so far; `results` say what is known of members that ended just now."""
    ended = {result["name"]: result["status"] for result in results}
    everyone = members(sweep)
    rows = [
        Row(
            member.name,
            member.method,
            member.scale,
            member.seed,
            member.settings.run.rollout_steps,
            ended.get(member.name) or ("done" if ledger(member).is_file() else "not done yet"),
        )
        for member in everyone
    ]
    draw(card, sweep.name, rows, absolute(everyone[0].settings.store.database))
