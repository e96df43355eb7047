"""What a gold answer is, and whether another answer is the same: typed answers.

The gold answer decides the kind, or the corpus does. The response is read as that kind, whole, or
it is wrong: no number is picked out of something that does not parse, and there is no arithmetic on
a date, a range, a name or a code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import ModuleType

from zppo_core.errors import UserError
from zppo_core.rewards.tables import spellings, words

KINDS = tuple(words("kind_names"))
_ALIASES = spellings("kinds")  # the first word of a name that is known decides
_ANY = ("", "auto", "free", "open", "other", "any", "search", "web_action", "grounding")


@dataclass(frozen=True)
class AnswerSpec:
    """What a corpus says about a gold answer; all of it may be left empty.

    `kind` is one of `KINDS` or an alias ("integer", "ordering"), "" leaves it to the gold answer;
    `options` are the texts of a choice, in order of their letters; `accepted` are further right
    answers; `tolerance` is the relative error that a number may have. UserError for a kind that is
    unknown.
    """

    kind: str = ""
    options: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    tolerance: float | None = None

    def __post_init__(self) -> None:
        known_kind(self.kind)


def known_kind(kind: str) -> str:
    """The one of `KINDS` that `kind` names, "" for none; UserError for an unknown name."""
    name = re.sub(r"[^a-z]+", "_", kind.lower()).strip("_")
    if name in _ANY:
        return ""
    for word in (name, *name.split("_")):
        for form in (word, word.removesuffix("s")):
            if form in KINDS or form in _ALIASES:
                return _ALIASES.get(form, form)
    raise UserError(f"answer kind {kind!r} is unknown; the kinds are {', '.join(KINDS)}")


class NeedsAlgebraError(Exception):
    """Only computer algebra can tell, and it runs in workers alone."""


@dataclass(frozen=True)
class Context:
    """How a comparison is made: the corpus' word on it, and the algebra if this is a worker."""

    spec: AnswerSpec = field(default_factory=AnswerSpec)
    algebra: ModuleType | None = None

    def call(self, name: str, *arguments: object) -> bool:
        """A function of `algebra.py`; NeedsAlgebraError outside of a worker."""
        if self.algebra is None:
            raise NeedsAlgebraError(name)
        return bool(getattr(self.algebra, name)(*arguments))


def interval_of(value: Fraction, half: Fraction) -> tuple[str, str]:
    """The bounds of a rounded number as texts for a worker."""
    return str(value - half), str(value + half)


def spec_of(
    kind: str = "",
    options: Sequence[str] = (),
    accepted: Sequence[str] = (),
    tolerance: float | None = None,
) -> AnswerSpec:
    """An `AnswerSpec` from any sequences."""
    return AnswerSpec(kind, tuple(options), tuple(accepted), tolerance)
