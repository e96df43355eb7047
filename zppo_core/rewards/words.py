"""Names and words: what stands for itself. Case, articles and hyphens are dress; order is not."""

from __future__ import annotations

import re
import unicodedata

from zppo_core.rewards.tables import words

_TRUE, _FALSE = set(words("true")), set(words("false"))
_LETTERS = ("y", "t", "n", "f")
_CODE = re.compile(
    r"(?<![\\A-Za-z])(?!(?:arc)?(?:sin|cos|tan)|(?:max|min|gcd|lcm|log|exp|sqrt|abs)\()[A-Za-z_]{3,}\w*\("
    r"|(?<![\\A-Za-z])[A-Za-z_]\w*\[[^\]]*\]|==|;$|[A-Za-z]{2,}_[A-Za-z]{2,}|\b(?:def|return|print|import|SELECT)\b|\w\.[a-z_]+\("
)
_ELEMENTS = sorted(words("elements"), key=len, reverse=True)
_FORMULA = re.compile(rf"(?:(?:{'|'.join(_ELEMENTS)})[0-9]*|[()])+")
_FIGURE = re.compile(r"\\(angle|triangle)(?![A-Za-z])")  # of a triangle ABC
_SCRIPT = re.compile(r"_\s*\{?([0-9a-zA-Z+-]+)\}?")
_ARTICLE = re.compile(r"(?:the|an|a)\s+(?=\w\w)", re.IGNORECASE)
_INITIAL = re.compile(r"(?<![^\W_])([^\W\d_])\.(?=[^\W\d_](?![^\W_])|\s|$)")
_JOINTS = re.compile(r"(?<=\w)[\s-](?=\w)")


def boolean(text: str) -> bool | None:
    """The truth value that a cleaned `text` names; a single letter is none."""
    word = text.casefold()
    if word in _LETTERS:
        return None
    return True if word in _TRUE else False if word in _FALSE else None


def booleans_agree(answer: str, gold: bool) -> bool:
    """Whether `answer` names the truth value `gold`, as a word or as its letter."""
    word = answer.casefold()
    return word in (_TRUE if gold else _FALSE)


def is_code(text: str) -> bool:
    """Whether `text` looks like code, where case and signs mean something."""
    return _CODE.search(text) is not None


def names_agree(answer: str, gold: str) -> bool:
    """Whether two cleaned texts name one thing."""
    if answer == gold:
        return True
    if answer.endswith("?") and not gold.endswith("?"):
        return False  # a question is no answer
    if is_code(gold):
        return _without_space(answer) == _without_space(gold)
    left, right = _name(answer), _name(gold)
    if _different_formulas(left, right):
        return False
    left, right = left.casefold(), right.casefold()
    if left == right:
        return bool(left)
    if left.isascii() and not right.isascii():
        right = "".join(
            c for c in unicodedata.normalize("NFD", right) if not unicodedata.combining(c)
        )
    return bool(left) and _joined(left) == _joined(right)


def _name(text: str) -> str:
    text = _SCRIPT.sub(r"\1", _FIGURE.sub(r"\1", text))
    text = _INITIAL.sub(r"\1", text)
    text = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
    return (
        " ".join(text.replace("{", "").replace("}", "").split())
        .lstrip(" .,;:?\"'")
        .rstrip(" .,;:!?\"'")
    )


def _joined(text: str) -> str:
    """Words of three letters and more, a number behind them, without what joins them.

    Shorter ones may be symbols, and a hyphen a minus.
    """
    parts = _JOINTS.split(text)
    named = parts[:-1] if parts[-1].isdecimal() else parts  # Apollo 11
    if len(parts) > 1 and all(len(p) > 2 and p.isalpha() for p in named):
        return "".join(parts)
    return text


def _without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _different_formulas(left: str, right: str) -> bool:
    """Two chemical formulas that differ in their capitals: CO and Co."""
    if left == right or left.casefold() != right.casefold():
        return False
    if boolean(left) is not None:
        return False
    return _FORMULA.fullmatch(left) is not None and _FORMULA.fullmatch(right) is not None
