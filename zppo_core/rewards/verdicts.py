"""What a judge's reply says, read in one way for training and for evaluation.

A reply counts in the form that its rubric asks for and in no other; None is a malformed one. Forms
are forgiven what judges do to them without meaning anything: a fence, a letter case, Markdown, a
backslash of LaTeX or a line break inside of a JSON string. What could be read in two ways is not
read at all: two verdicts, or a reply that ends inside of its own reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

_THOUGHT = "think|thinking|thought|reasoning|analysis"
_OPENED = re.compile(rf"<(?:{_THOUGHT})>|\[THINK\]", re.IGNORECASE)
_CLOSED = re.compile(rf"</(?:{_THOUGHT})>|\[/THINK\]", re.IGNORECASE)
_FENCE_LINE = re.compile(r"(?:`{3,}|~{3,})[ \t]*[\w+.-]*")
# a backslash that JSON takes: before a quote, a slash or four hexadecimal digits, and before the
# letter of a control character where no letter of a LaTeX command follows ("\neq", "\frac")
_ESCAPE = re.compile(r'\\(?:(["\\/]|u[0-9a-fA-F]{4}|[bfnrt](?![A-Za-z]))|)')

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_LEAD = re.compile("so|thus|hence|therefore|overall|and|the|my|a|its|final|i|say|is|boxed")
_NAME = re.compile("verdict|answer|judge?ment|decision|conclusion|result")
# a number of its own, a full stop after it or not: "0.5.", but nothing of "v1.2.3" or "P-1"
_NUMBER = re.compile(r"(?<![\w.+-])[-+]?(?:[0-9]*\.)?[0-9]+(?!\w|\.[0-9])")
_SCORE_LEAD = re.compile(
    "the|this|that|its?|my|i|an?|of|is|be|gets?|would|will|should|gives?|assign|deserves|so|thus|"
    "therefore|final|overall|correctness|prediction(?:'s)?|scores?|rating|grade|mark|result|answer|"
    "boxed"
)
# what makes another number of the first: a second one, a fraction of anything but one, a percentage
_SECOND = re.compile(
    r"[\s*_`]*(?:(?:[,;–—~-]|(?:or|to|and|vs)\b)[\s*_`]*[-+]?\.?[0-9]"
    r"|/(?!\s*1(?:\.0*)?(?![.0-9]))|\\?%|percent\b)",
    re.IGNORECASE,
)
_NUMBER_LINE = re.compile(r"^\W*[0-9.]+[^\w\n]*$", re.MULTILINE)
MOST_ENDS = 8  # of thoughts that are tried; a reply has one


def after_thinking(reply: str) -> str | None:
    """What a reply says after its thinking, stripped; None if it never ends its thinking."""
    *_, last = _after_thinking(reply)
    return last


def _after_thinking(reply: str) -> Iterator[str | None]:
    """The reply after each place where its thinking may have ended, first to last.

    The whole, unless it begins with a thought; a copied answer may hold a closing tag of its own.
    """
    text = reply.strip()
    if _OPENED.search(text) is None:
        yield text
    ends = list(_CLOSED.finditer(text))
    for end in ends[: min(MOST_ENDS, len(ends) - 1)]:
        yield text[end.end() :].strip()
    last = text[ends[-1].end() :].strip() if ends else text
    # opened once more, or for the first time, and not closed: cut in its reasoning
    yield None if _OPENED.search(last) else last


def json_object(reply: str, keys: Sequence[str]) -> dict[str, object] | None:
    r"""The one JSON object that a reply is after its thinking, with exactly `keys`; else None.

    Bare or in one code fence. Letter case of the keys is forgiven, and so are line breaks and
    backslashes that are no escapes inside of strings ("\alpha"). A key that comes twice is none.
    """
    objects = (_object(text) for text in (reply.strip(), *_after_thinking(reply)) if text)
    value = next((o for o in objects if o is not None), None)
    return value if value is not None and value.keys() == set(keys) else None


def _object(text: str) -> dict[str, object] | None:
    body = _unfenced(text.removeprefix("\ufeff")).strip("`*")
    if not body.startswith("{"):
        return None
    for form in (body, _ESCAPE.sub(lambda m: m.group() if m.group(1) else r"\\", body)):
        try:
            value = json.loads(form, strict=False, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _unfenced(text: str) -> str:
    """What stands in the one code fence that `text` is; `text` itself if it is none."""
    opened = _FENCE_LINE.match(text)
    if opened is None:
        return text
    fence = text[: len(text) - len(text.lstrip(text[0]))]
    inside = text[opened.end() :]
    return inside.removesuffix(fence).strip() if inside.endswith(fence) else text


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = {key.strip().casefold(): value for key, value in pairs}
    if len(members) < len(pairs):
        raise ValueError("a key comes twice")
    return members


def word_of(value: object, words: Sequence[str]) -> str | None:
    """Which of `words` a JSON value is, but for letter case and white space; None if none."""
    word = value.strip().casefold() if isinstance(value, str) else None
    return word if word in words else None


def parse_verdict(reply: str) -> bool | None:
    """Whether a judge says "correct"; None if its reply is malformed, which counts as wrong.

    Exactly one object {"verdict": "correct" | "wrong"}: a verdict inside of other text is not one.
    """
    value = json_object(reply, ("verdict",))
    word = None if value is None else word_of(value["verdict"], ("correct", "wrong"))
    return None if word is None else word == "correct"


def yes_or_no(reply: str, cut: bool = False) -> bool | None:
    """The verdict of a rubric that wants it on a last line of its own: YES or NO.

    None if the last line is anything else, if an earlier line is a verdict too, and if the reply
    was `cut` by its limit of tokens: then its last line is none.
    """
    text = after_thinking(reply)
    if text is None or cut:
        return None
    lines = [line.strip() for line in text.splitlines()]
    readings = [_verdict_line(line) for line in lines if line and not _FENCE_LINE.fullmatch(line)]
    verdicts = [v for v in readings if v is not None]
    return verdicts[0] if len(verdicts) == 1 and readings[-1] is not None else None


def _verdict_line(line: str) -> bool | None:
    """The verdict that a line is: YES or NO in any dress, alone or after words like "Verdict:"."""
    words: list[str] = _WORD.findall(line.casefold())
    *lead, last = words or [""]
    named = any(_NAME.fullmatch(word) for word in lead) or set(lead) <= {"boxed"}
    led = named and all(_LEAD.fullmatch(word) or _NAME.fullmatch(word) for word in lead)
    if last not in ("yes", "no") or not led or "?" in line:
        return None
    return last == "yes"


def score_between_0_and_1(reply: str, cut: bool = False) -> float | None:
    """The number that a reply begins with, alone or after words like "The score is".

    None if it does not lie in [0, 1], if another could be meant ("0.5 or 0.7", "1/2", "50 %"), and
    if the reply was `cut`, for the number may have gone on.
    """
    text = after_thinking(reply)
    number = None if text is None or cut else _NUMBER.search(text)
    if text is None or number is None:
        return None
    if _SECOND.match(text, number.end()) or _NUMBER_LINE.search(text.partition("\n")[2]):
        return None
    if any(not _SCORE_LEAD.fullmatch(w) for w in _WORD.findall(text[: number.start()].casefold())):
        return None
    score = float(number.group())
    return score if 0.0 <= score <= 1.0 else None
