r"""Numbers as they are written: integers, decimals, fractions, powers of ten, percentages, words.

Each is read as an exact rational together with the precision that it shows. Two numbers agree if
they are equal; a decimal gold number of two digits or more also takes what rounds to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from zppo_core.rewards.numerals import MAGNITUDES, PARTS, number_in_words

MAX_DIGITS = 60  # of an exact number
MAX_POWER = 400  # of ten
ROUNDED_DIGITS = 7  # significant ones, from which on a decimal stands for a number without an end


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value, and how it was written.

    `ulp` is the unit of the last decimal shown, None for a number that shows none; `digits` are its
    significant ones. `percent`: the value is a hundredth of what was written.
    """

    value: Fraction
    ulp: Fraction | None = None
    digits: int = 0
    percent: bool = False
    ordinal: bool = False

    @property
    def shown(self) -> Number:
        """The number before a percent sign."""
        if not self.percent:
            return self
        ulp = None if self.ulp is None else self.ulp * 100
        return Number(self.value * 100, ulp, self.digits)

    def scaled(self, factor: Fraction) -> Number:
        """The number times `factor`, its precision with it."""
        ulp = None if self.ulp is None else abs(self.ulp * factor)
        return replace(self, value=self.value * factor, ulp=ulp)


_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])"
_DECIMAL = rf"(?:(?:{_GROUPED}|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_INTEGER = re.compile(r"-?[0-9]{1,60}")
_SIGN = re.compile(r"(?P<sign>[-+]|negative |minus )\s*", re.IGNORECASE)
_FRACTION = re.compile(
    rf"(?:(?P<whole>[0-9]+)\s*(?:and\s+)?)?\\frac\s*(?:\{{\s*(?P<top>[-+]?\s*{_DECIMAL})\s*\}}|(?P<top1>[0-9]))\s*"
    rf"(?:\{{\s*(?P<bottom>[-+]?\s*{_DECIMAL})\s*\}}|(?P<bottom1>[0-9]))"
)
_SLASH = re.compile(
    rf"(?:(?P<whole>[0-9]+)\s+(?:and\s+)?)?(?:\{{(?P<top1>{_DECIMAL})\}}|(?P<top>{_DECIMAL}))\s*/\s*"
    rf"(?:\{{(?P<bottom1>{_DECIMAL})\}}|(?P<bottom>{_DECIMAL}))"
)
_PLAIN = re.compile(
    rf"(?P<mantissa>{_DECIMAL})?(?:(?:[eE](?P<e>[-+]?[0-9]{{1,3}}))|(?P<times>\s*(?:\\times|\\cdot|\*|x)?\s*)"
    r"(?<![0-9])10\s*(?:\^|\*\*)\s*(?:\{\s*(?P<power>[-+]?\s*[0-9]{1,4})\s*\}|\(?(?P<bare>[-+]?[0-9]{1,4})\)?))?"
)
_REPEATING = re.compile(
    r"(?P<whole>[0-9]*)\.(?P<fixed>[0-9]*)"
    r"(?:\\overline\s*(?:\{(?P<bar>[0-9]+)\}|(?P<bar1>[0-9]))|\\bar\s*\{?(?P<bar2>[0-9]+)\}?"
    r"|\((?P<round>[0-9]+)\)|(?P<dots>\\dot\s*\{?[0-9]\}?(?:[0-9]*\\dot\s*\{?[0-9]\}?)?)"
    r"|(?P<more>\s*\\ldots))"
)
_ORDINAL = re.compile(r"([0-9]+)\s*\^?\{?\s*(?:st|nd|rd|th)\}?", re.IGNORECASE)
_MAGNITUDE = re.compile(
    r"(.*[0-9}])(?:\s*(?<![A-Za-z])(hundreds?|thousands?|millions?|billions?|trillions?|mn|bn|bln|mln|lakhs?|crores?|dozens?"
    r"|万亿|百万|千万|十亿|万|亿|千)|(k|M))\.?",
    re.IGNORECASE,
)
_SHARES = re.compile(r"([0-9]{1,9})\s+([a-z]+)", re.IGNORECASE)


def read_number(text: str) -> Number | None:
    """The number that a cleaned `text` is, whole; None if it is something else."""
    if _INTEGER.fullmatch(text):
        return Number(Fraction(int(text)), None, len(text.lstrip("-0")))
    if len(text) > 2 * MAX_DIGITS:
        return None
    return _read(text)


def exact_number(text: str) -> Fraction | None:
    """The rational number that a cleaned `text` spells out; None if it is something else."""
    number = read_number(text)
    return None if number is None else number.value


@lru_cache(maxsize=1 << 14)
def _read(text: str) -> Number | None:
    text = unwrapped(text)
    percent = _PERCENT_END.fullmatch(text)
    if percent:
        number = _read(percent.group(1).strip())
        if number is None or number.percent or number.ordinal:
            return None
        scaled = number.scaled(Fraction(1, 100))
        return replace(scaled, percent=True)
    sign = _SIGN.match(text)
    if sign:
        number = _unsigned(text[sign.end() :])
        negative = sign.group("sign") != "+"
        return replace(number, value=-number.value) if number and negative else number
    return _unsigned(text)


_PERCENT_END = re.compile(r"(.*?)\s*(?:%|percent|per ?cent|pct)", re.IGNORECASE)


_SUCH_THAT = re.compile(r"\s*[A-Za-z]\s*(?:[|:]|\\in(?![A-Za-z]))")  # {x | x > 2}


def unwrapped(text: str) -> str:
    """`(-5)` and `{5}` without the brackets around them; a tuple keeps its own."""
    while len(text) > 2 and (text[0] + text[-1]) in ("()", "{}"):
        inner = text[1:-1]
        if text[0] == "{" and _SUCH_THAT.match(inner):
            return text
        if any(c in inner for c in "(){},") or "\\choose" in inner:
            return text
        text = inner.strip()
    return text


def _unsigned(text: str) -> Number | None:
    if not text or sum(c.isdigit() for c in text) > MAX_DIGITS:
        return None
    if not any("0" <= c <= "9" for c in text):
        spelt = number_in_words(text)
        return None if spelt is None else Number(spelt[0], ordinal=spelt[1])
    for pattern in (_FRACTION, _SLASH):
        match = pattern.fullmatch(text)
        if match:
            return _fraction(match)
    match = _PLAIN.fullmatch(text)
    if match:
        return _plain(match)
    match = _REPEATING.fullmatch(text)
    if match:
        return _repeating(match)
    match = _ORDINAL.fullmatch(text)
    if match:
        return Number(Fraction(int(match.group(1))), ordinal=True)
    match = _SHARES.fullmatch(text)
    part = _part(match.group(2).lower(), int(match.group(1))) if match else None
    if match and part is not None:
        return Number(Fraction(int(match.group(1)), part))
    match = _MAGNITUDE.fullmatch(text)
    if match:
        number = _unsigned(match.group(1).strip())
        word = match.group(2) or match.group(3)
        if word.lower() in ("dozen", "dozens"):
            return None if number is None else number.scaled(Fraction(12))
        power = MAGNITUDES.get(word, MAGNITUDES.get(word.lower(), 0))
        # 5m are metres, and 5K kelvins
        if number is None or number.ordinal or (match.group(3) and word not in ("k", "M")):
            return None
        return number.scaled(Fraction(10) ** power)
    return None


def _part(word: str, count: int) -> int | None:
    """What "sixths" behind `count` divide it by; a quarter is a coin or a weight as well."""
    if word in ("quarter", "quarters") or (count != 1 and not word.endswith("s")):
        return None
    return PARTS.get(word)


def _fraction(match: re.Match[str]) -> Number | None:
    part = match.groupdict()
    top = _digits(part["top"] or part["top1"])
    bottom = _digits(part["bottom"] or part["bottom1"])
    if bottom == 0:
        return None
    value = top / bottom
    if part["whole"] is not None:
        if value < 0 or top.denominator != 1 or bottom.denominator != 1:
            return None
        value += int(part["whole"])
    return Number(value)


def _digits(text: str) -> Fraction:
    return Fraction(re.sub(r"[,\s]", "", text))


def _plain(match: re.Match[str]) -> Number | None:
    part = match.groupdict()
    mantissa = part["mantissa"]
    power = int(re.sub(r"\s", "", part["e"] or part["power"] or part["bare"] or "0"))
    if abs(power) > MAX_POWER:
        return None
    if mantissa is None:
        if part["e"] is not None or part["times"] is None or part["times"].strip():
            return None
        mantissa = "1"
    elif part["times"] is not None and not part["times"].strip():
        return None  # "3 10^8" and "310^8" are no numbers
    bare = re.sub(r"[,\s]", "", mantissa)
    value = Fraction(bare) * Fraction(10) ** power
    decimals = bare.partition(".")[2]
    digits = len(bare.replace(".", "").lstrip("0"))
    # 1.0 and 5.00 are whole numbers that a program or a price wrote
    if not decimals.strip("0") and not power:
        return Number(value, None, digits)
    if not decimals and power >= 0:
        return Number(value, None, digits)
    return Number(value, Fraction(10) ** (power - len(decimals)), digits)


def _repeating(match: re.Match[str]) -> Number | None:
    part = match.groupdict()
    fixed = part["fixed"]
    period = part["bar"] or part["bar1"] or part["bar2"] or part["round"]
    if part["dots"]:
        period = re.sub(r"[^0-9]", "", part["dots"])
    elif part["more"]:
        # 0.3... may go on in any way; 0.333... and 0.1212... do not
        repeated = re.search(r"(?:([0-9])\1{2,}|([0-9]{2,6}?)\2+)$", fixed)
        if repeated is None:
            return None
        period, fixed = repeated.group(1) or repeated.group(2), fixed[: repeated.start()]
    whole, period = part["whole"] or "0", period or "0"
    scale = 10 ** len(fixed)
    base = Fraction(int(whole + fixed), scale)
    return Number(base + Fraction(int(period), (10 ** len(period) - 1) * scale))


def numbers_agree(answer: Number, gold: Number, tolerance: float | None = None) -> bool:
    """Whether `answer` is the number `gold`.

    Exactly; or to the decimals that a `gold` of two significant digits or more shows, if `answer`
    shows no fewer; or within the relative `tolerance`. A fraction whose decimals never end is met
    by seven of them, rightly rounded. Where one side alone has a percent sign, the number before
    it may agree too (paper, section on the reward).
    """
    if (answer.ordinal and not gold.ordinal) or (gold.ordinal and answer.percent):
        return False
    if _agree(answer, gold, tolerance):
        return True
    return answer.percent != gold.percent and _agree(answer.shown, gold.shown, tolerance)


def _agree(answer: Number, gold: Number, tolerance: float | None) -> bool:
    if answer.value == gold.value:
        return True
    error = abs(answer.value - gold.value)
    if tolerance is not None:
        return error <= Fraction(tolerance) * abs(gold.value)
    if gold.ulp is not None:
        if gold.digits < 2 or (answer.ulp is not None and answer.ulp > gold.ulp):
            return False
        if answer.ulp is None and answer.value.denominator == 1:
            return False
        if 2 * error == gold.ulp and abs(answer.value) > abs(gold.value):
            return (gold.value / gold.ulp).numerator % 2 == 0  # 3.55 is 3.6 to everyone
        return 2 * error <= gold.ulp
    if answer.ulp is None or answer.digits < ROUNDED_DIGITS or _ends(gold.value):
        return False
    return 2 * error <= answer.ulp and error * 2_000_000 <= abs(gold.value)


def _ends(value: Fraction) -> bool:
    """Whether the decimals of `value` come to an end."""
    bottom = value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1
