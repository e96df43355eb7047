"""Kinds without parts: words, truth values, codes, times, dates.

Each comparison takes cleaned texts and gives None if the gold answer is not of its kind.
"""

from __future__ import annotations

import re

from zppo_core.rewards.answers import Context
from zppo_core.rewards.moments import read_date, read_time, times_agree
from zppo_core.rewards.named import is_literal
from zppo_core.rewards.numbers import read_number
from zppo_core.rewards.words import boolean, booleans_agree, is_code, names_agree


def boolean_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """A truth value."""
    value = boolean(gold)
    return None if value is None else booleans_agree(answer, value)


def forced_boolean_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """A truth value by the corpus' word, single letters too."""
    value = {"t": True, "y": True, "f": False, "n": False}.get(gold.casefold(), boolean(gold))
    return None if value is None else booleans_agree(answer, value)


def name_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """A name or word; a number among names may be written otherwise."""
    if names_agree(answer, gold):
        return True
    return None if read_number(gold) is not None else False


def code_agrees(answer: str, gold: str, context: Context) -> bool:
    """A code: sign by sign but for spaces."""
    return re.sub(r"\s+", "", answer) == re.sub(r"\s+", "", gold)


def date_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """A date."""
    date = read_date(gold)
    return None if date is None else read_date(answer) == date


def time_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """A time of day."""
    time = read_time(gold)
    if time is None:
        return None
    moment = read_time(answer)
    return moment is not None and times_agree(moment, time)


def program_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """Source code."""
    return code_agrees(answer, gold, context) if is_code(gold) else None


def literal_agrees(answer: str, gold: str, context: Context) -> bool | None:
    """A number or word that stands for itself."""
    return names_agree(answer, gold) if is_literal(gold) else None
