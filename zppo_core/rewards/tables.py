"""The words of `tables.toml`: many spellings of one thing."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, str]]:
    text = resources.files("zppo_core.rewards").joinpath("tables.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def spellings(section: str) -> dict[str, str]:
    """Each spelling in a section with what it is read as."""
    return {
        word: meaning for meaning, words in _tables()[section].items() for word in words.split()
    }


def words(name: str) -> list[str]:
    """The words of one line of the section "words", in order."""
    return _tables()["words"][name].split()
