"""The colours of kinds, models and phases: the same in cards and in figures."""

from __future__ import annotations

# Okabe and Ito's colours, which colour-blind readers tell apart
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
NAMED = {
    "plain": "#009e73",
    "replay": "#56b4e9",
    "bcq": "#0072b2",
    "ncq": "#d55e00",
    "hint": "#cc79a7",
    "prefix": "#e69f00",
    "base": "#999999",
    "student": "#0072b2",
    "teacher": "#e69f00",
    "learner": "#009e73",
    "reformulate": "#56b4e9",
    "augmented": "#d55e00",
    "update": "#999999",
    "admitted": "#0072b2",
    "graduated": "#009e73",
    "evicted": "#999999",
}


def colour_of(name: str, place: int) -> str:
    """The colour (hex) of a series: its own if it is a kind or a model, else that of its place."""
    return NAMED.get(name, COLOURS[place % len(COLOURS)])


KINDS = ("plain", "replay", "bcq", "ncq", "hint", "prefix")


def kind_order(kind: str) -> tuple[int, str]:
    """Sort key of kinds of groups: as a rollout step makes them, then others by name."""
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)
