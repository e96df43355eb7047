"""What may stand left of `=`: names, called functions, sums of names; nothing that denies."""

from __future__ import annotations

import re

from zppo_core.rewards.expressions import has_symbols, parse
from zppo_core.rewards.tables import words

_COMMANDS = {*words("symbols"), *words("marked"), "frac", "therefore", "because"}
LONGEST_NAME = 60  # characters
_NAME = re.compile(
    r"(?:\\(?:therefore|because)\s*)?"
    r"(?:\|?(?:\\(?:angle|triangle|overline|vec|hat|bar|Delta|widehat|overrightarrow)\s*)?"
    r"(?:\{?\\?[A-Za-z]+\}?(?:_\s*(?:\{[^{}=]{1,16}\}|[A-Za-z0-9]))?'{0,2}"
    r"(?:\([A-Za-z0-9,.+\\ =|-]{1,16}\))?[\s*]*){1,4}\|?"
    r"|\\frac\{d\^?\d?[a-z]?\}\{d[a-z]\^?\d?\}|[一-鿿]{1,12})"
)
_DENY = set(words("deny"))
# half of x, double x, square of x: another value; "double bonds" and "the negative root" are names
_MULTIPLE = re.compile(
    r"(?<![A-Za-z\\])(?:"
    r"(?:half|third|quarter|double|triple|times|negative)\s+(?:the\s|\\?[A-Za-z](?![A-Za-z]))"
    r"|(?:half|third|quarter|double|triple|square|cube|(?:square|cube|cubic)\s+root|multiple"
    r"|negative|opposite|reciprocal|fraction|percent|less|more)\s+of\b"
    r"|(?:half|double|triple|square|cube)\s*\("
    r"|(?:or|but)(?:\s+\\?[A-Za-z](?![A-Za-z])|\s*$)"
    r"|(?:at\s+(?:least|most)|all\s+but|up\s+to)\b|(?:more|less|fewer|half)\s*$)",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"no\.?\s+of\b|(?:wrong|incorrect|false)\s+[a-z]{3,}", re.IGNORECASE)
_EVENT = re.compile(r"(?<![A-Za-z])(?:P|Pr|p|N|n)\s?\([^()]*\)")
_DENIED_HAN = re.compile(
    "不是|不等|并非|不为|不对|错|除了|除非|如果|若|一半|至少|至多|大于|小于|超过|倍$"
)


def is_name(text: str) -> bool:
    match = _NAME.fullmatch(text) if len(text) <= LONGEST_NAME else None
    if match and any(c not in _COMMANDS for c in re.findall(r"\\([A-Za-z]+)", text)):
        return False
    if match is None or text.strip() in ("e", "\\pi", "i", "\\infty"):
        return False
    return not denied(text)


def denied(name: str) -> bool:
    """Whether the words before `=` deny what stands behind it, or change it: `not x`, `half of x`.

    A number of wrong answers, a "no. of apples" and P(not A) deny nothing.
    """
    rest = _COUNTED.sub("", _EVENT.sub("", name))
    if "n't" in rest or _MULTIPLE.search(rest) or _DENIED_HAN.search(rest):
        return True
    return any(w.lower() in _DENY for w in re.findall(r"(?<![A-Za-z\\])[A-Za-z]{2,}", rest))


_ROUND = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_INVERSE = r"\^\s*(?:\{\s*(?:-1|\(\d\))\s*\}|\(\d\))"
_SUB = r"(?:_\s*(?:\{[^{}=]{1,16}\}|[A-Za-z0-9]))?"
# P(A \cup B), f^{-1}(x), E[X]; x(y + 1) is a product
_CALLED = re.compile(
    rf"(?:[A-Z]|[fghpqr]|\\(?:Pr|phi|psi|Gamma|zeta|mu|Phi|R)|[A-Z][a-z]{{1,5}}){_SUB}'{{0,3}}\s*"
    rf"(?:(?:{_INVERSE})?\s*{_ROUND}|\[[^\[\]]*\])"
)
# what has a value as it stands: a limit, a sum, a determinant, a length, a number of elements
_OPERATOR = re.compile(
    r"\\(?:lim|sum|int|iint|oint|prod)(?![A-Za-z]).*"
    r"|\\?(?:lim|max|min|sup|inf|det|dim|gcd|lcm|arg|rank)(?![A-Za-z])\s*(?:_\s*\{[^{}]*\}\s*)?"
    rf"(?:{_ROUND}|\\?[A-Za-z]+{_SUB}\s*(?:{_ROUND})?)"
    r"|\|\s*(?:[A-Z][^|=]*|\\(?:vec|overrightarrow|overline)[^|=]*)\|",
    re.DOTALL,
)
_ANGLE = rf"(?:\\angle\s*)?(?:[A-Z]{{1,3}}|[a-z]|\\[a-z]+){_SUB}"
_OF_ANGLE = re.compile(
    rf"\\(?:sin|cos|tan|cot|sec|csc)\s*(?:{_ANGLE}|{_ROUND}|\{{\s*{_ANGLE}\s*\}})"
)
LONGEST_OPERATOR = 120  # characters


def names_value(side: str, value: str) -> bool:
    r"""Whether a side that is no plain name has `value`: `f^{-1}(x)`, `\lim f`, `\cos A`.

    The value of a function of an angle is a constant: `\cos x = \sin x` is an equation.
    """
    if len(side) > LONGEST_OPERATOR or denied(side):
        return False
    if _CALLED.fullmatch(side) or _OPERATOR.fullmatch(side):
        return True
    tree = parse(value) if _OF_ANGLE.fullmatch(side) else None
    return tree is not None and not has_symbols(tree)


_ONE_SET = r"(?:\\overline\s*\{?\s*[A-Z]\s*\}?|[A-Z](?:'|\^\s*\{?\s*c\s*\}?)?)"
_SETS_JOINED = r"\s*(?:\\cap|\\cup|\\setminus|\\backslash|\\times|-)\s*"
_SET = rf"(?:{_ONE_SET}|\({_ONE_SET}{_SETS_JOINED}{_ONE_SET}\)'?)"
_OF_SETS = re.compile(rf"{_SET}(?:{_SETS_JOINED}{_SET})*")
_POWER = r"(?:\^\s*(?:\{\s*(?:-?1|T|\\top|\*|[2-9n])\s*\}|[T*2-9n]|\\top))?"
_MATRICES = re.compile(rf"[A-Z]{_POWER}(?:\s*[+-]?\s*[A-Z]{_POWER})*")


def is_set(side: str) -> bool:
    r"""Whether a side is made of sets or of matrices by their letters: `A \cap B`, `A^{-1}B`."""
    short = len(side) <= LONGEST_NAME and not denied(side)
    return short and (_OF_SETS.fullmatch(side) or _MATRICES.fullmatch(side)) is not None


_TERM = re.compile(
    r"(?:\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega)|\\(?:vec|overrightarrow)\s*\{?\s*\w+\s*\}?"
    rf"|\\angle\s*[A-Z]{{1,3}}|\|[A-Z]{{1,2}}\||[A-Z]{{1,3}}|[a-z]){_SUB}'?"
)


def is_sum(side: str) -> bool:
    """Whether a side is a sum or difference of different names without factors: `m + n`."""
    if len(side) > LONGEST_NAME or denied(side):
        return False
    terms = [term.strip() for term in re.split(r"[+-]", side)]
    if len(terms) < 2 or len(set(terms)) < len(terms) or {"e", "i"} & set(terms):
        return False
    return all(_TERM.fullmatch(term) for term in terms)
