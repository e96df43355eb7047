"""How long a prompt is, without tokenising what is far too long anyway."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 8  # characters a token of which the first look is made: few texts have more
SLACK = 16  # tokens that a text may have more in its part than in the whole, where a word is cut


def count_within(text: str, most: int, count: Callable[[str], int]) -> int:
    """The tokens of `text` by `count`, exact up to `most`; else those of a part with too many.

    A text of ordinary words is decided by its first 8 characters a token, however long it is.
    """
    size = FIRST * most
    while size < len(text):
        tokens = count(text[:size])
        if tokens > most + SLACK:
            return tokens
        size *= 4
    return count(text)
