r"""An answer behind words that say what it is, and one that is said in several ways at once.

`The length is 5 cm`, `Total: 5`, `the point (1, 2)`; `0.5 or 1/2`, `5 (five)`, `5 m = 500 cm`.
"""

from __future__ import annotations

import re

from zppo_core.rewards.choices import letters_of
from zppo_core.rewards.numerals import number_in_words
from zppo_core.rewards.quantities import read_quantity
from zppo_core.rewards.shapes import bracketed, read_statement
from zppo_core.rewards.sides import denied
from zppo_core.rewards.words import boolean

LONGEST = 200  # characters
MOST = 4  # ways in which one value is said
_LABEL = re.compile(
    r"(?P<label>[A-Za-z][A-Za-z' -]*?(?:\([A-Za-z, ]+\))?|\([a-z](?:, ?[a-z])+\)|[A-Za-z]_\{?\w\}?)"
    r"(?:(?P<colon>:)\s+|\s+(?:is|are|equals|is equal to|will be|would be)\s+)(?P<value>\S.*)",
    re.DOTALL,
)
# what comes next is of the kind that the word says
_OF_KIND = re.compile(
    r"(?:the\s+)?(?:points?|ratio|vertex|cent(?:er|re)|coordinates|set|interval|vector|matrix|number"
    r"|line|equation|both|either|values?|integers?|roots?|solutions?)\s+(?=[-\d(\[{\\$]|[a-z]\s*=)",
    re.IGNORECASE,
)
# a label that asks, supposes or bounds tells no value
_ASKS = re.compile(
    r"\b(?:what|which|whether|who|where|when|why|how|suppose|assume|let|were|instead|like|than"
    r"|least|most|guess|or|only if|counter\w*|wrong|incorrect|answer|opposite|negation|reciprocal"
    r"|inverse|half|twice|double|lambda|return|print|echo)\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"\s(?:is|are|equals)\s")
_ARTICLE = re.compile(r"(?:the|my|our|its?|this|that|his|her)\b", re.IGNORECASE)
_WAYS = re.compile(
    r"\s*,?\s+(?:or|i\.e\.|that is)(?:,\s*|\s+)|\s*,\s*(?:i\.e\.|that is|or)(?:,\s*|\s+)"
)
_IN_BRACKETS = re.compile(
    r"(?P<first>.*\S)\s+\(\s*(?P<marked>(?:or|i\.e\.|that is|=)[,\s]*)?(?P<again>[^()]+)\)"
)


def behind_label(text: str, gold: str) -> str | None:
    """What stands behind the words that name it; None if none do, or deny it, or it is a letter."""
    if len(text) > LONGEST or letters_of(gold) is not None or re.fullmatch("[A-Za-z]", gold):
        return None
    match = _OF_KIND.match(text)
    if match:
        return text[match.end() :]
    match = _LABEL.fullmatch(text)
    if match is None or denied(match["label"]) or _ASKS.search(match["label"]):
        return None
    label, value = match["label"], match["value"]
    if number_in_words(label) is not None or boolean(label) is not None:
        return None
    words = re.search(r"[\d\\=]", value) is None
    if _AGAIN.search(value) or (words and (match["colon"] or not _ARTICLE.match(label))):
        return None
    return value


def ways_of(text: str) -> list[str]:
    """The ways in which `text` says one value, all of which must be right; none if it has one."""
    if len(text) > LONGEST:
        return []
    ways = [way.strip() for way in _WAYS.split(text)]
    if len(ways) == 1:
        match = _IN_BRACKETS.fullmatch(text)
        if match and (match["marked"] or _is_told(match["again"])):
            ways = [match["first"], match["again"].strip()]
    if len(ways) == 1 and "=" in text:
        statement = read_statement(text)
        if statement is not None and set(statement.relations) == {"="}:
            ways = list(statement.sides)
    return ways if 1 < len(ways) <= MOST and all(ways) else []


def _is_told(text: str) -> bool:
    """Whether what stands in brackets is no factor: words, or a quantity."""
    return not re.search(r"[\d\\=+*/^]", text) or read_quantity(text) is not None


def only_member(text: str) -> str | None:
    r"""The one member of `\{2\}` or of `x \in \{2\}`; None if the text is no such set."""
    sequence = bracketed(re.sub(r"^[A-Za-z]\s*\\in(?![A-Za-z])\s*", "", text))
    alone = sequence is not None and sequence.brackets == "{}" and len(sequence.parts) == 1
    one = sequence.parts[0] if sequence is not None and alone else None
    return None if one == r"\emptyset" else one
