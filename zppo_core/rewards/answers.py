"""What a gold answer is: its kind, and what a corpus may say about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AnswerSpec:
    """What a corpus says about a gold answer; all of it may be left empty.

    `kind` is one of `KINDS` or an alias, "" leaves it to the gold answer; `options` are the texts of
    a choice, in order of their letters; `accepted` are further right answers; `tolerance` is the
    relative error that a number may have.
    """

    kind: str = ""
    options: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    tolerance: float | None = None
