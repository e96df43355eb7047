"""Cells of a table as a question's texts: what they are stays what they are.

A cell that is nothing of the kind raises `UnusableError` with the reason its row is counted under.
"""

from __future__ import annotations

import ast
import datetime
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import SupportsFloat, SupportsIndex, TypeGuard

DEPTH = 200  # levels of lists and objects within one another


class Decimals(float):
    """A number of a JSON file with its digits as they are written: 0.50 stays 0.50."""

    text: str

    def __new__(cls, text: str) -> Decimals:
        number = super().__new__(cls, text)
        number.text = text
        return number


class UnusableError(ValueError):
    """Why a row cannot be asked, as its rows are counted: "with ..."."""


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: none, NaN (as pandas writes it), or nothing but space."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, (str, bytes, list, tuple, dict)) and not (
        value.strip() if isinstance(value, (str, bytes)) else value
    )


def text_of(value: object) -> str:
    """A cell of text, without space around it; "" if it is missing."""
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return _checked(value.strip())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    raise UnusableError(f"with a question of type {type(value).__name__}")


def answer_text(value: object) -> str:
    """An answer's text: numbers as they are written, lists with commas; "" if it is missing."""
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return _checked(_unlisted(value.strip()))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float, Decimal, Fraction)):
        return number_text(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return ", ".join(_nested(v) for v in value if not is_missing(v))
    if isinstance(value, bytes):
        try:
            return answer_text(value.decode())
        except UnicodeDecodeError:
            raise UnusableError("with an answer of bytes that are no text") from None
    raise UnusableError(f"with an answer of type {type(value).__name__}")


def number_text(value: float | Decimal | Fraction) -> str:
    """A number as its source writes it; whole floats, which pandas makes of integers, whole."""
    if isinstance(value, Decimals):
        return value.text
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnusableError("with an infinite number")
        return str(int(value)) if value == int(value) and abs(value) < 1e16 else repr(value)
    return str(value)


def number_of(value: object) -> float | None:
    """The number that a cell is or spells out; None if it is none."""
    if not isinstance(value, (str, bytes, bytearray, SupportsFloat, SupportsIndex)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def answer_kind(value: object) -> str:
    """The kind of answer that a cell's type alone tells; "" where it tells none."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, datetime.datetime):
        return "date" if value.time() == datetime.time() else ""
    return "date" if isinstance(value, datetime.date) else ""


def _nested(value: object) -> str:
    text = answer_text(value)
    return f"({text})" if isinstance(value, (list, tuple)) else text


def _unlisted(text: str) -> str:
    """A Python or JSON list of texts, written as text, with commas; anything else as it is."""
    items = text_list(text)
    quoted = items is not None and any(isinstance(item, str) for item in items)
    return answer_text(items) if quoted else text


def text_list(text: str) -> list[object] | None:
    """The list that `text` spells out as Python or JSON do; None if it spells none."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")) or len(text) > 100_000:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        return value if isinstance(value, list) and not is_deep(value) else None
    return None


def is_deep(value: object) -> bool:
    """Whether lists and objects lie within one another on more than DEPTH levels.

    What Python's parsers refuse differs from version to version, and walking such a value ends in
    a RecursionError.
    """
    level = [value]
    for _ in range(DEPTH):
        inner = [v.values() if isinstance(v, dict) else v for v in level if _is_nest(v)]
        level = [v for values in inner for v in values if _is_nest(v)]
        if not level:
            return False
    return True


def _is_nest(value: object) -> TypeGuard[dict[object, object] | list[object] | tuple[object, ...]]:
    return isinstance(value, (dict, list, tuple))


def _checked(text: str) -> str:
    if "\0" in text:
        raise UnusableError("with a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnusableError("with text that is no Unicode (a lone surrogate)") from None
    return text


def texts_of(value: object) -> tuple[str, ...]:
    """A list of texts: of a list, of letters with their texts, or of a list written as text."""
    if is_missing(value):
        return ()
    if isinstance(value, str):
        listed = text_list(value)
        value = [value] if listed is None else listed
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value) if not is_missing(value[key])]
    if not isinstance(value, Iterable):
        value = [value]
    return tuple(answer_text(v) for v in value if not is_missing(v))


def truth_of(value: object) -> bool:
    """A flag: true or false, 1 or 0, or one of them as text; a missing one is false."""
    if is_missing(value):
        return False
    word = str(value).strip().lower()
    if word in ("true", "yes", "y", "t", "1", "1.0"):
        return True
    if word in ("false", "no", "n", "f", "0", "0.0"):
        return False
    raise UnusableError("with a flag that is neither true nor false")


def tolerance_of(value: object) -> float | None:
    """A relative tolerance of at least 0, or none."""
    if is_missing(value):
        return None
    number = number_of(value)
    if number is None or not 0 <= number < math.inf:
        raise UnusableError("with a tolerance that is no number >= 0")
    return number
