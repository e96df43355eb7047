r"""What an answer would be had nobody asked to put it into `\boxed{}`.

A box makes models write LaTeX and Markdown around plain words: escapes, text commands, dollars. The
benchmarks' own rules know none of that, so it goes before they see the answer; nothing else does.
Typography is the reward's (`zppo_core.rewards.clean.typography`), of answer and gold alike.
"""

from __future__ import annotations

import re

from zppo_core.rewards.clean import COLOUR, HOLDING

LONGEST = 100_000  # characters; a longer answer keeps its dress

_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|sl|tt|sc|up|normal|md)?|emph|url|mbox|hbox"
    r"|math(?:rm|bf|it|sf|tt|normal|cal|frak|scr)"
    r"|operatorname\*?|boldsymbol|bm|underline|uline|boxed|fbox)\s*\{([^{}]*)\}"
)
_COLOURED = re.compile(rf"{COLOUR}\s*\{{([^{{}}]*)\}}|\{{\s*{COLOUR}([^{{}}]*)\}}")
# the braces of \frac{\rm m}{\rm s} are no group
_HOLDING = HOLDING + "|tiny|small|normalsize|large|Large|LARGE|huge|Huge"
_SIZED = re.compile(r"\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge)\s*\{([^{}]*)\}")
_SWITCH = re.compile(rf"(?<![A-Za-z}}\]^_])\{{\s*\\(?:{_HOLDING})(?![A-Za-z])([^{{}}]*)\}}")
_SIZES = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg|displaystyle|textstyle|limits"
    rf"|{_HOLDING})(?![A-Za-z])|{COLOUR}"
)
_GROUPED = re.compile(r"(?<=[0-9])\\[,;: ](?=[0-9]{3}(?![0-9]))")
_SPACES = re.compile(r"\\[,;: ]|\\q?quad(?![A-Za-z])|(?<!~)~(?!~)")
_BRACED_SIGN = re.compile(r"\{([:.;/-])\}")
_BEFORE_PERCENT = re.compile(r"(?<=[0-9])\\[,;: ](?=%|\ue000)")
_ESCAPED = re.compile(r"\\([%&#_${}])")
_DELIMITERS = re.compile(r"\\[()\[\]]")
_WRAPS = ("**", "__", "`", "*")
# a character of the private use area for each escaped one, so that what is left is mark-up
_KEPT = {char: chr(0xE000 + i) for i, char in enumerate("%&#_${}")}


def undressed(answer: str) -> str:
    r"""`answer` without Markdown around it, text commands, dollars of mathematics and escapes.

    Money keeps its dollar (`\$5`), mathematics its commands (`\frac`, `\sqrt`). Linear in the
    answer but for commands inside of each other, of which eight levels are opened.
    """
    if len(answer) > LONGEST:
        return answer.strip()
    text = _ESCAPED.sub(lambda m: _KEPT[m.group(1)], _bare(answer.strip()))
    for _ in range(8):
        shorter = _SWITCH.sub(
            r"\1", _TEXT.sub(r"\1", _SIZED.sub(r"\1", _COLOURED.sub(r"\1\2", text)))
        )
        if shorter == text:
            break
        text = shorter
    text = _without_dollars(_DELIMITERS.sub("", _SIZES.sub("", text)))
    text = _BRACED_SIGN.sub(r"\1", _BEFORE_PERCENT.sub("", text))
    text = text.replace("{,}", ",").replace(r"\!", "")
    text = _GROUPED.sub(",", text)
    text = _SPACES.sub(" ", text)
    for char, kept in _KEPT.items():
        text = text.replace(kept, char)
    return _bare(text.strip())


def _bare(text: str) -> str:
    """`text` without a pair of Markdown marks around the whole of it."""
    for mark in _WRAPS:
        inner = text[len(mark) : -len(mark)].strip()
        if text.startswith(mark) and text.endswith(mark) and inner and mark not in inner:
            return _bare(inner)
    return text


def _without_dollars(text: str) -> str:
    """`text` without dollars around mathematics; one alone, or before each number, is money."""
    places = [i for i, char in enumerate(text) if char == "$"]
    money = all(text[i + 1 : i + 2].isdigit() for i in places)
    return text if len(places) < 2 or money else text.replace("$", "")
