r"""Units of quantities, with money and counted things.

Units are read by a grammar of our own (`km/h`, `m s^{-2}`, `square metres`, `5 ft 3 in`) over names
that pint knows, loaded when it is first needed; nothing is evaluated. A unit is a factor and
dimensions; a counted thing ("apples") is a dimension of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from zppo_core.rewards.numerals import NUMERALS
from zppo_core.rewards.tables import spellings, words

if TYPE_CHECKING:
    from pint import UnitRegistry

Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Unit:
    """`factor` base units of `dimensions`; `offset` (in base units) is a temperature's zero point.

    `known` units belong to a system; others are counted things. `circle` is the bare degree sign.
    """

    factor: Fraction = Fraction(1)
    dimensions: Dimensions = ()
    offset: Fraction = Fraction(0)
    is_unit: bool = True
    circle: bool = False


def _power(unit: Unit, exponent: int) -> Unit:
    if unit.offset and exponent != 1:
        unit = Unit(unit.factor, unit.dimensions, Fraction(0), unit.is_unit)
    dimensions = tuple((name, n * exponent) for name, n in unit.dimensions if n * exponent)
    return Unit(unit.factor**exponent, dimensions, unit.offset, unit.is_unit, unit.circle)


def product(left: Unit, right: Unit) -> Unit:
    powers: dict[str, int] = dict(left.dimensions)
    for name, n in right.dimensions:
        powers[name] = powers.get(name, 0) + n
    dimensions = tuple(sorted((k, n) for k, n in powers.items() if n))
    return Unit(left.factor * right.factor, dimensions, Fraction(0), left.is_unit and right.is_unit)


# --- names ------------------------------------------------------------------------------------

_MONEY = spellings("money")
CURRENCIES = {code.partition("/")[0] for code in _MONEY.values()}
_ALIASES = spellings("units")
# a letter that stands close to its number is a unit if it is one of these
CLOSE = set("mgslLhVWJNK")
_SINGLE = CLOSE | set("ACFtdTBHu") | {"M"}
_NO_UNIT, _NO_THING, _NO_NOUN, _ENDS_IN_LY = (
    set(words(name)) for name in ("no_unit", "no_thing", "no_noun", "ends_in_ly")
)
_PLURALS = spellings("plurals")
_COUNTERS = re.compile(
    "[个只条张本辆棵名人位件支枝头匹座台块间道题次种朵把双对袋瓶盒箱枚颗粒根片页]([一-鿿]{0,4})"
)


def singular(word: str) -> str:
    """A counted thing without its plural: apples, boxes, cherries, children."""
    word = word.lower()
    if word in _PLURALS:
        return _PLURALS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=1)
def _registry() -> UnitRegistry[Fraction]:
    import pint

    return pint.UnitRegistry(non_int_type=Fraction, cache_folder=None)


_SHORT = re.compile(
    r"(?:da|[kMGTmcdnpµμfh])?(?:m|g|s|A|K|mol|cd|Hz|N|Pa|J|W|C|V|F|S|Wb|T|H|lm|lx|Bq|L|l|eV|B|bar)"
    r"|atm|psi|day|cup|lux|erg|dyn|ppm|ppb|nmi|ohm|Å|rad"
)
_SCALES = {"celsius": "°C", "c": "°C", "fahrenheit": "°F", "f": "°F"}
_WORD = re.compile(r"[A-Za-zµμÅ_]{1,30}")
_ABSOLUTE = {"°C": (Fraction(1), Fraction(5463, 20)), "°F": (Fraction(5, 9), Fraction(45967, 180))}


@lru_cache(maxsize=4096)
def unit_of(word: str) -> Unit | None:
    """The unit that one word names, or the thing it counts; None if it can be neither."""
    if word in _ABSOLUTE:
        factor, offset = _ABSOLUTE[word]
        return Unit(factor, (("kelvin", 1),), offset)
    if word == "°":
        return Unit(Fraction(1), (("[degree]", 1),), circle=True)
    money = _MONEY.get(word.lower())
    if money:
        code, _, part = money.partition("/")
        return Unit(Fraction(1, int(part or 1)), ((code, 1),))
    alias = _ALIASES.get(word, _ALIASES.get(word.lower() if len(word) > 1 else word))
    if alias:
        return unit_of(alias) if alias in ("°", "°C", "°F") else _of_alias(alias)
    if _COUNTERS.fullmatch(word):
        return Unit(Fraction(1), (("item", 1),), is_unit=False)
    if word not in _SINGLE if len(word) == 1 else word.lower() in _NO_UNIT:
        return None
    if not _WORD.fullmatch(word):
        return None
    # pint reads many a short word: mc is a thousandth of the speed of light to it
    short = len(word) <= 3 and _SHORT.fullmatch(word) is None
    unit = None if short else _of_pint(word)
    if unit is None and len(word) > 3:
        unit = _of_pint(word.lower()) or _of_pint(singular(word))
    if unit is not None:
        return unit
    return Unit(Fraction(1), ((singular(word), 1),), is_unit=False) if _countable(word) else None


def _countable(word: str) -> bool:
    """Whether a word that is no unit may name what is counted: no number, no doubt, no denial."""
    lower, thing = word.lower(), singular(word)
    return len(word) > 1 and lower not in _NO_THING and not {thing, lower} & NUMERALS


def _ends_open(word: str) -> bool:
    """Whether a word needs another behind it to name a thing: an adjective, an adverb in -ly."""
    word = word.lower()
    return word in _NO_NOUN or (word.endswith("ly") and word not in _ENDS_IN_LY)


def _of_alias(alias: str) -> Unit | None:
    unit, sign = Unit(), 1
    for part in re.split(r"([/*])", alias):
        if part in "/*":
            sign = -1 if part == "/" else 1
            continue
        if part.isdigit():
            unit = Unit(unit.factor * int(part), unit.dimensions)
            continue
        name, _, exponent = part.partition("^")
        base = _of_pint(name)
        if base is None:
            return None
        unit = product(unit, _power(base, sign * int(exponent or 1)))
    return unit


def _exact(number: object) -> Fraction:
    if not isinstance(number, (int, float, Decimal, Fraction)):
        raise TypeError(f"{number!r} is no real number")
    return Fraction(number)


def _of_pint(word: str) -> Unit | None:
    """pint's base units of one plain word; its own grammar never sees more than that."""
    registry = _registry()
    try:
        factor, units = registry.get_base_units(word.replace("μ", "µ"))
        dimensions = tuple(sorted((str(k), int(_exact(n))) for k, n in units._units.items()))
        return Unit(_exact(factor).limit_denominator(10**30), dimensions)
    except Exception:  # pint has a dozen ways to say that it does not know a word
        return None


# --- the grammar of a unit ---------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s*(?:(?P<word>°\s?[CF](?![A-Za-z])|°|\\Omega|\\mu\s*(?=[A-Za-z])|[A-Za-zµμÅ]+\$?|[$€£¥₹₩₽¢]|[一-鿿]+|%)"
    r"|(?:(?<=[A-Za-z]{2})|(?<=\b[ms]))(?P<close>-?[1-4])(?![\d.])|\^\s*(?:\{\s*(?P<up>-?\d{1,2})\s*\}|(?P<bare>-?\d{1,2})|\((?P<round>-?\d{1,2})\))|(?P<sign>\\cdot|\\times|[/*()]|-(?=[A-Za-z])|\.(?=[a-z])))"
)
_SPEED = re.compile(r"(?<![A-Za-z])ms\s*\^\s*\{\s*-")  # metres per second, not milliseconds
_US = re.compile(r"\bU\.?S\.?\s+(?=dollars?\b)", re.IGNORECASE)
_SHORTENED = re.compile(r"\b(sq|cu)\.\s*", re.IGNORECASE)
_OF_SIZE = re.compile(r"\s+(?:old|long|tall|wide|high|deep|away)$")
_OHM = re.compile(r"(?<![A-Za-z])([kMmG]?)\s?\\Omega(?![A-Za-z])")
_FRACTION = re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    """The unit that `text` is, whole; None if it is none."""
    if len(text) > 60:
        return None
    fraction = _FRACTION.fullmatch(text.strip())
    if fraction:
        text = f"{fraction.group(1) or ''}/({fraction.group(2)})"
    text = _SPEED.sub("m s^{-", _OF_SIZE.sub("", _US.sub("", text)))
    text = _SHORTENED.sub(r"\1 ", text)
    text = _OHM.sub(r"\1ohm", text)
    tokens, place = [], 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.end() == place:
            return None
        tokens.append(match)
        place = match.end()
    if not tokens or _ends_open(tokens[-1]["word"] or "") or (tokens[-1]["sign"] or ")") != ")":
        return None
    return _compound(tokens)


def _joined(first: Unit, second: Unit) -> Unit:
    """The thing that two words of counted things name together."""
    name = " ".join(name for unit in (first, second) for name, _ in unit.dimensions)
    return Unit(Fraction(1), ((name, 1),), is_unit=False)


def _compound(tokens: list[re.Match[str]]) -> Unit | None:
    unit, sign, hold, power = Unit(), 1, 1, 1
    depth, last, mu, things = 0, None, "", 0
    for match in tokens:
        word, symbol = match["word"], match["sign"]
        if symbol in ("/",):
            sign, last = -1, None
        elif symbol == "(":
            depth, hold = depth + 1, sign
        elif symbol == ")":
            depth, sign, last = depth - 1, 1, None
        elif symbol is not None:
            last = None
            sign = hold if depth else 1
        elif word is None:
            exponent = int(match["close"] or match["up"] or match["bare"] or match["round"])
            if last is None or exponent == 0:
                return None
            unit = product(unit, _power(last, exponent - 1))
            last = None
        else:
            word = word.replace(" ", "") if word.startswith("°") else word
            lower = word.lower()
            if word.startswith("\\mu"):
                mu = "µ"
            elif lower == "per" or lower == "每":
                sign, last = -1, None
            elif lower in ("square", "sq", "squared", "cubic", "cu", "cubed"):
                exponent = 2 if lower.startswith("sq") else 3
                if lower.endswith("ed") or (lower == "square" and last is not None):
                    if last is None:
                        return None
                    unit = product(unit, _power(last, exponent - 1))
                else:
                    power = exponent
            elif lower in _SCALES and last is not None and last.circle:
                unit = unit_of(_SCALES[lower]) or unit
            else:
                factor = unit_of(mu + word)
                if factor is None:
                    return None
                mu, things = "", things + (not factor.is_unit)
                if last is not None and not last.is_unit and not factor.is_unit:
                    # red apples are one thing, and so are no apples that are red
                    unit = product(unit, _power(last, -1))
                    factor = _joined(last, factor)
                last = _power(factor, sign * power)
                unit = last if unit == Unit() else product(unit, last)
                power = 1
                if not depth and sign < 0:
                    sign = 1
    return None if depth or things > 3 or not unit.dimensions else unit
