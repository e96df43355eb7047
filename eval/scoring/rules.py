"""Deterministic rules: does an extracted answer agree with a sample's gold answer?

Each returns a score from 0 to 1, or the pairs that computer algebra has to compare. The official
definitions and their sources: `docs/evaluation.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from eval.suite import Sample
from zppo_core.rewards.clean import clean, without_units
from zppo_core.rewards.numbers import exact_number

ANLS_THRESHOLD = 0.5
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Algebra:
    """Right iff one of these (answer, gold) pairs is equal by the grader (method, section 6)."""

    pairs: tuple[tuple[str, str], ...]


Rule = Callable[[Sample, str], "float | Algebra"]


def golds_of(sample: Sample) -> tuple[str, ...]:
    return (sample.gold, *sample.golds)


def maths(sample: Sample, answer: str) -> Algebra:
    """Numbers, LaTeX and text by the grader, as in training."""
    return Algebra(tuple((answer, gold) for gold in golds_of(sample)))


_LEAD = re.compile(r"(?:option|choice|answer)\s*:?\s*(?=\(?[a-z]\b)", re.IGNORECASE)
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*\)?\s*[.:]?")
_LETTER_TEXT = re.compile(r"(?:\(\s*([A-Z])\s*\)|([A-Z])\s*[.):])\s*(.+)", re.DOTALL)


def same_text(left: str, right: str) -> bool:
    """Equal but for case, spacing and mark-up."""
    return clean(left).casefold() == clean(right).casefold()


def letter_of(answer: str, options: tuple[str, ...]) -> str | None:
    """The letter that `answer` names: "B", "(b)", "B.", "B. its text"; None if it names none.

    With known `options` the letter must be one of theirs, and a text beside it must be its own.
    """
    text = _LEAD.sub("", clean(answer), count=1)
    bare = _LETTER.fullmatch(text)
    if bare:
        letter = bare.group(1).upper()
        return letter if not options or letter in LETTERS[: len(options)] else None
    both = _LETTER_TEXT.fullmatch(text)
    if both is None:
        return None
    letter = both.group(1) or both.group(2)
    if not options:
        return letter
    index = LETTERS.index(letter)
    return letter if index < len(options) and same_text(both.group(3), options[index]) else None


def choice(sample: Sample, answer: str) -> float:
    """Right iff the answer is a gold letter, or the text of that option."""
    golds = [g.upper() for g in golds_of(sample)]
    letter = letter_of(answer, sample.options)
    if letter is not None:
        return float(letter in golds)
    texts = [sample.options[i] for g in golds if (i := LETTERS.find(g)) < len(sample.options)]
    return float(any(same_text(answer, text) for text in texts))


def choice_or_math(sample: Sample, answer: str) -> float | Algebra:
    """The gold letter, or a value equal to that option's (MathVision)."""
    index = LETTERS.find(sample.gold.upper()) if len(sample.gold) == 1 else -1
    if letter_of(answer, sample.options) is not None or not 0 <= index < len(sample.options):
        return choice(sample, answer)
    return Algebra(((answer, sample.options[index]),))


_ENDING = re.compile(r"[\s.,;:!?。，；：！？]+$")


def plain_text(sample: Sample, answer: str) -> float:
    """Equal but for case, spacing, spaces after commas and final punctuation (BabyVision)."""

    def tidy(text: str) -> str:
        text = _ENDING.sub("", " ".join(clean(text).lower().split()))
        return re.sub(r"\s*,\s*", ",", text)

    return float(any(tidy(answer) == tidy(gold) for gold in golds_of(sample)))


def integer(sample: Sample, answer: str) -> float | Algebra:
    """Whole numbers, with leading zeros or a degree sign (AIME)."""
    right = exact_number(without_units(clean(sample.gold)))
    given = exact_number(without_units(clean(answer)))
    if right is None or given is None:
        return maths(sample, answer)
    return float(right == given)


_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")


def unwrapped(answer: str) -> str:
    r"""An answer without `\text{}`, dollar signs and escapes of a box's content."""
    text = _WRAPPED.sub(r"\1", answer).replace("$", "")
    return re.sub(r"\\([%&#_{}])", r"\1", text).strip()


def anls_of(answer: str, gold: str) -> float:
    """Normalised Levenshtein similarity of two texts, lower case, white space collapsed."""
    left, right = (" ".join(text.lower().split()) for text in (answer, gold))
    longest = max(len(left), len(right))
    return 1.0 if longest == 0 else 1.0 - Levenshtein.distance(left, right) / longest


def anls(sample: Sample, answer: str) -> float:
    """ANLS: the best similarity to a gold answer; 0 below one half."""
    candidates = (answer, unwrapped(answer))
    best = max(anls_of(c, gold) for c in candidates for gold in golds_of(sample))
    return best if best >= ANLS_THRESHOLD else 0.0


def mathvista(sample: Sample, answer: str) -> float:
    """MathVista's normalisation by kind of answer, then equality of texts."""
    value = mathvista_value(sample, unwrapped(answer))
    return float(value is not None and value.strip() == sample.gold.strip())


def mathvista_value(sample: Sample, answer: str) -> str | None:
    """The answer as MathVista writes it; None if it cannot be converted.

    Any text but a letter counts as the choice that is nearest by Levenshtein distance.
    """
    if sample.options:
        letter = letter_of(answer, sample.options)
        if letter is not None:
            return sample.options[LETTERS.index(letter)]
        return min(sample.options, key=lambda option: Levenshtein.distance(answer, option))
    kind = sample.extra["answer_type"]
    try:
        if kind == "integer":
            return str(int(float(answer)))
        if kind == "float":
            return str(round(float(answer), int(sample.extra["precision"])))
    except (ValueError, OverflowError, TypeError):
        return None
    return answer


_SIGN, _NUMBER = r"(?P<sign>[-+]?)", r"[0-9]+(?:\.[0-9]+)?"
_PI = re.compile(
    rf"{_SIGN}(?:\\frac\{{(?P<top>{_NUMBER})?(?P<root>\\pi|π)?\}}\{{(?P<bottom>{_NUMBER})\}}"
    rf"|(?P<factor>{_NUMBER})?)(?P<pi>\\pi|π)?(?:/(?P<over>{_NUMBER}))?"
)


def number_of(answer: str) -> float | None:
    r"""A number, or a rational multiple of pi like 2\pi/3 or \frac{\pi}{4}; None for the rest."""
    text = re.sub(r"[\s*]|\\cdot", "", without_units(clean(answer)))
    exact = exact_number(text)
    if exact is not None:
        try:
            return float(exact)
        except OverflowError:  # of more than 308 digits: as far from any gold number as can be
            return math.inf if exact > 0 else -math.inf
    match = _PI.fullmatch(text)
    if match is None or not (match["pi"] or match["root"]):
        return None
    top = float(match["top"] or match["factor"] or 1)
    bottom = float(match["bottom"] or 1) * float(match["over"] or 1)
    if bottom == 0 or (match["pi"] and match["root"]):
        return None
    return (-1 if match["sign"] == "-" else 1) * math.pi * top / bottom


def dynamath(sample: Sample, answer: str) -> float | Algebra:
    """DynaMath: letter; number to 0.001; or text that the gold answer contains."""
    kind = sample.extra["answer_type"]
    if kind == "multiple choice":
        return choice(sample, answer)
    if kind == "float":
        given, right = number_of(answer), number_of(sample.gold)
        if given is None or right is None:
            return maths(sample, answer)
        return float(abs(given - right) <= 0.001 + 1e-12)
    text = unwrapped(answer).lower()
    return float(bool(text) and text in sample.gold.lower())


_GRIDS = (
    re.compile(r"\(?\s*([0-9]+)\s*(?:,|x|×|by|\\times)\s*([0-9]+)\s*\)?"),
    re.compile(r"\{\s*([0-9]+)\s*\}\s*,?\s*\{\s*([0-9]+)\s*\}"),
    re.compile(r"rows\s*[=:]\s*\{?\s*([0-9]+)\s*\}?[\s,;]*columns\s*[=:]\s*\{?\s*([0-9]+)\s*\}?"),
    re.compile(r"([0-9]+)\s*rows\s*(?:,|and)?\s*([0-9]+)\s*columns"),
)


def vlmsareblind(sample: Sample, answer: str) -> float:
    """VLMs are Blind: a number, a letter, yes or no, or rows and columns, in braces or bare."""
    text = unwrapped(answer).lower()
    if sample.extra["task"].lower().startswith("counting grid"):
        pair = next((m.groups() for grid in _GRIDS if (m := grid.fullmatch(text))), None)
        # not by int(), which refuses thousands of digits
        given = None if pair is None else ",".join(n.lstrip("0") or "0" for n in pair)
    else:
        given = re.sub(r"^[{(\[\"']+|[})\]\"'.]+$", "", text).strip()
    right = re.sub(r"\s+", "", sample.gold.lower())
    return float(given is not None and given == right)


_NUMBERS = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def mmmu_value(text: str) -> float | str:
    """A number to two decimals, or lower-case text."""
    text = text.strip()
    try:
        return round(float(text.replace(",", "")), 2)
    except (ValueError, OverflowError):
        return text.lower()


def mmmu(sample: Sample, answer: str) -> float:
    """MMMU's rule for open answers: an equal number, or a gold text inside of a candidate.

    Candidates are the answer, its part after the last equals sign, and the numbers in it; a single
    letter must stand as a word of its own.
    """
    text = unwrapped(answer)
    parts = {text, text.rpartition("=")[2], *_NUMBERS.findall(text)}
    candidates = {mmmu_value(p) for p in parts if p.strip()}
    for gold in map(mmmu_value, golds_of(sample)):
        if gold in candidates:
            return 1.0
        if isinstance(gold, str) and gold:
            word = rf"(?<!\S){re.escape(gold)}(?!\S)" if len(gold) == 1 else re.escape(gold)
            if any(isinstance(c, str) and re.search(word, c) for c in candidates):
                return 1.0
    return 0.0


RULES: dict[str, Rule] = {
    "exact": maths,
    "math": maths,
    "choice": choice,
    "choice_or_math": choice_or_math,
    "text": plain_text,
    "integer": integer,
    "anls": anls,
    "mathvista": mathvista,
    "dynamath": dynamath,
    "vlmsareblind": vlmsareblind,
    "mmmu": mmmu,
}
