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

from eval.benchmark import Sample
from eval.scoring.closed_form import value_of
from eval.scoring.dress import undressed
from zppo_core.rewards.answers import AnswerSpec, NeedsAlgebraError
from zppo_core.rewards.choices import LETTERS, choice_agrees, named_letter
from zppo_core.rewards.clean import clean, typography, without_units
from zppo_core.rewards.compare import agree
from zppo_core.rewards.named import named_value
from zppo_core.rewards.numbers import exact_number
from zppo_core.rewards.quantities import read_quantity

ANLS_THRESHOLD = 0.5
PLAIN = AnswerSpec()


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


def same_text(left: str, right: str) -> bool:
    """Equal but for case, spacing and mark-up."""
    return clean(left).casefold() == clean(right).casefold()


def same_option(left: str, right: str) -> bool:
    """Whether two cleaned texts are one option: the same text, or by the grader the same value.

    By exact arithmetic alone: what needs computer algebra is another text here.
    """
    if same_text(left, right):
        return True
    try:
        return agree(left, right, PLAIN)
    except NeedsAlgebraError:
        return False


def letter_of(answer: str, options: tuple[str, ...]) -> str | None:
    """The letter that `answer` names: "B", "(b)", "B.", "B. its text"; None if it names none.

    By the reward's own rule. With known `options` the letter must be one of theirs, and a text
    beside it its own; without them any text may stand beside it that names no other letter.
    """
    return named_letter(clean(answer), [clean(option) for option in options], same_option)


_LINE = re.compile(
    r"(?:(?P<named>answer|答案|故?选)|option|choice|选项)\W*(?:(?:is|:|=|是|为)\W*)*(?:option\W+)?"
    r"(?:\\(?:text(?:bf|rm)?|boxed|mathrm|mathbf)\s*\{)?"
    r"(?<![A-Za-z])([A-Z])(?![A-Za-z0-9])\W*$",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(?:(?:final|correct)\s+answer|^\W*answer|答案)\W*?(?:is\s+|[:：=是为]\s*)(.+)$", re.IGNORECASE
)
_HEADING = re.compile(r"(?:(?:final|correct|the|my)\s+)*answer|答案", re.IGNORECASE)
# what takes the letter behind it back, asks for it or weighs it against another
_NOT_SAID = re.compile(
    r"\b(?:not|never|cannot|wrong|incorrect|false|eliminate|eliminat\w+|exclude\w*|reject\w*|unlike"
    r"|instead|than|which|whether|except|rule out|ruled out|rules out)\b|n't\b|不|错|排除",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?:(?:[Oo]ption|[Cc]hoice)\s+\(?|(?<![A-Za-z])(?!A\s+(?!or\b|and\b)[a-z]|I\s))([A-J])(?![A-Za-z0-9'])"
)


def answer_line(text: str, options: tuple[str, ...]) -> str | None:
    """The letter of the last line that ends in an explicit answer ("**Answer: D**"), if any.

    "Answer: D) 45 cm" and a heading "Answer" above the letter alone count too. A line that says
    what the answer is not, asks, or names a second option beside "option D" is no such line.
    """
    lines = [line[-200:].strip() for line in text.splitlines() if line.strip()]
    for i in range(len(lines) - 1, -1, -1):
        line, above = lines[i], lines[i - 1] if i else ""
        if _HEADING.fullmatch(above.strip("#*_: ")) and letter_of(line, options):
            return letter_of(line, options)
        match = _LINE.search(line)
        if match is None:
            behind = _SAID.search(line)
            letter = letter_of(behind.group(1), options) if behind else None
            if behind and letter and not _NOT_SAID.search(line[: behind.start()]):
                return letter
            continue
        before = line[: match.start()]
        clause = re.split(r"[.;!?。；]", before)[-1]
        if "?" in line[match.start() :] or _NOT_SAID.search(clause):
            continue
        letter = match.group(2)
        if not match["named"] and any(other != letter for other in _OTHER.findall(clause)):
            continue
        is_option = letter.isupper() and (not options or letter in LETTERS[: len(options)])
        return letter if is_option else None
    return None


def names_a_choice(answer: str, options: tuple[str, ...]) -> bool:
    """Whether `answer` is a letter or the text of an option."""
    if letter_of(answer, options) is not None:
        return True
    return any(same_option(answer, option) for option in options)


def choice(sample: Sample, answer: str) -> float:
    """Right iff the answer is a gold letter, or the text of that option, as the reward has it."""
    cleaned, options = clean(answer), [clean(option) for option in sample.options]
    golds = [g.upper() if len(g) == 1 else g for g in golds_of(sample)]
    return float(any(choice_agrees(cleaned, gold, options, same_option) for gold in golds))


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


def anls_of(answer: str, gold: str) -> float:
    """Normalised Levenshtein similarity of two texts, lower case, white space collapsed."""
    left, right = (" ".join(text.lower().split()) for text in (answer, gold))
    longest = max(len(left), len(right))
    return 1.0 if longest == 0 else 1.0 - Levenshtein.distance(left, right) / longest


def anls(sample: Sample, answer: str) -> float:
    """ANLS: the best similarity to a gold answer; 0 below one half."""
    plain = undressed(answer)
    golds = golds_of(sample)
    best = max(anls_of(c, gold) for c in (answer, plain) for gold in golds)
    best = max(best, *(anls_of(typography(plain), typography(gold)) for gold in golds))
    return best if best >= ANLS_THRESHOLD else 0.0


def mathvista(sample: Sample, answer: str) -> float:
    """MathVista's normalisation by kind of answer, then equality of texts."""
    value = mathvista_value(sample, undressed(answer))
    return float(value is not None and _typed(value) == _typed(sample.gold))


def _typed(text: str) -> str:
    return typography(text).strip()


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
            return str(int(_plain_number(answer)))
        if kind == "float":
            return str(round(_plain_number(answer), int(sample.extra["precision"])))
    except (ValueError, OverflowError, TypeError):
        return None
    return answer


def _plain_number(answer: str) -> float:
    """A number as it is written: "7.9", "1,000", "1/2", "x = 5", "$5", "5 cm".

    ValueError for the rest, and for "5 %".
    """
    text = clean(answer)
    text = named_value(text) or text
    exact = None if "%" in answer else exact_number(text)
    if exact is None and (measured := read_quantity(text)) is not None:
        exact = measured.number.value if measured.number and measured.parts == 1 else None
    return float(answer if exact is None else exact)


def number_of(answer: str) -> float | None:
    r"""A number, or the value of a closed form like 2\pi/3 or \sqrt{2}; None for the rest."""
    cleaned = clean(answer)
    if "°" in cleaned and re.search("sin|cos|tan", cleaned):
        return None  # without its sign the angle would be one of radians: the grader reads it
    text = without_units(cleaned)
    exact = exact_number(text)
    if exact is None:
        return value_of(text)
    try:
        return float(exact)
    except OverflowError:  # of more than 308 digits: as far from any gold number as can be
        return math.inf if exact > 0 else -math.inf


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
    text = _typed(undressed(answer)).lower().removesuffix(".")
    return float(bool(text) and text in _typed(sample.gold).lower())


_GRIDS = (
    re.compile(r"\(?\s*([0-9]+)\s*(?:,|x|×|by|\\times)\s*([0-9]+)\s*\)?"),
    re.compile(r"\{\s*([0-9]+)\s*\}\s*,?\s*\{\s*([0-9]+)\s*\}"),
    re.compile(r"rows\s*[=:]\s*\{?\s*([0-9]+)\s*\}?[\s,;]*columns\s*[=:]\s*\{?\s*([0-9]+)\s*\}?"),
    re.compile(r"([0-9]+)\s*rows\s*(?:,|and)?\s*([0-9]+)\s*columns"),
)


def vlmsareblind(sample: Sample, answer: str) -> float:
    """VLMs are Blind: a number, a letter, yes or no, or rows and columns, in braces or bare."""
    text = _typed(undressed(answer)).lower()
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
    text = _typed(undressed(answer))
    parts = {text, text.rpartition("=")[2], *_NUMBERS.findall(text)}
    candidates = {mmmu_value(p) for p in parts if p.strip()}
    for gold in map(mmmu_value, map(typography, golds_of(sample))):
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
