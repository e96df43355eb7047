r"""Families with a whole number, `k\pi, k \in \Z`, and congruences, `x \equiv 3 \pmod{7}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zppo_core.rewards.named import exact_value

LONGEST = 300  # characters


@dataclass(frozen=True)
class Family:
    """What is said of each whole number `letter` of the set `numbers`."""

    text: str
    letter: str
    numbers: str


_MEMBER = (
    r"(?:(?P<letter>[A-Za-z])\s*\\in(?![A-Za-z])\s*(?P<numbers>\\?[ZN](?![A-Za-z])[^,;()]{0,8}?)"
    r"|(?P<whole>[A-Za-z]) is an(?:y)? integer|integers? (?P<named>[A-Za-z]))"
)
_FAMILY = re.compile(
    r"(?P<text>.+?)(?:\s*[,;]\s*|\s+|\s*(?=\())\(?\s*(?:(?:for|where|with)\s+)?"
    rf"(?:(?:all|any|some|every|each|an)\s+)?{_MEMBER}\s*\)?"
)
_BUILDER = re.compile(rf"\\?\{{\s*(?P<text>.+?)\s*[|:,]\s*{_MEMBER}\s*\\?\}}")


def read_family(text: str) -> Family | None:
    """The family that a cleaned `text` describes; None if it names no whole number."""
    if len(text) > LONGEST or not (r"\in" in text or "integer" in text):
        return None
    match = _BUILDER.fullmatch(text) or _FAMILY.fullmatch(text)
    if match is None:
        return None
    letter = next(match[g] for g in ("letter", "whole", "named") if match[g])
    numbers = re.sub(r"[\s\\{}]", "", match["numbers"] or "Z")
    family = Family(match["text"].strip(), letter, numbers)
    return family if _uses(family.text, letter) else None


def _of(letter: str) -> str:
    return rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])"


def _uses(text: str, letter: str) -> bool:
    return re.search(_of(letter), text) is not None


def renamed(family: Family, letter: str) -> str | None:
    """What a family says with `letter` for its own; None if that is in use."""
    if family.letter == letter:
        return family.text
    if _uses(family.text, letter):
        return None
    return re.sub(_of(family.letter), letter, family.text)


_CONGRUENCE = re.compile(r"([^=<>]+?)\s*\\equiv(?![A-Za-z])\s*([^=<>\\]+?)\s*\\pmod\{([^{}]+)\}")


def read_congruence(text: str) -> tuple[str, str, str] | None:
    r"""(left side, rest, modulus) of `x \equiv 3 \pmod{7}`; None if the text is none of numbers."""
    match = _CONGRUENCE.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        return None
    left, rest, modulus = match.groups()
    return left, rest, modulus


def residues_agree(left: str, right: str, modulus: str) -> bool:
    """Whether two whole numbers leave the same rest."""
    x, y, n = exact_value(left), exact_value(right), exact_value(modulus)
    if x is None or y is None or not n:
        return False
    return ((x - y) / n).denominator == 1 and x.denominator == y.denominator == n.denominator == 1
