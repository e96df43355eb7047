"""A reward of one's own, in a module that a worker imports in no time."""

from __future__ import annotations

from zppo_core.types import Grade, Question


def coin(question: Question, response: str) -> Grade:
    """Right or wrong by the response's length: groups that are rarely trivial."""
    right = len(response) % 2 == 0
    return Grade(float(right), "correct" if right else "wrong", None)
