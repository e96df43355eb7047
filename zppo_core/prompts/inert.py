"""Text that a model wrote, made unable to act: no control token, no structural tag is left in it.

One pass with a stack, so the cost grows with the length of the text, however it is nested. Letters
that only look like a tag's count as those, and characters that nobody sees are taken out first.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# tags that carry structure in our prompts, or are single tokens of Qwen3.5 ...
_NAMES = (
    "candidate|response|summary|hint|question|gold|think|tool_call|tool_response|image|video|audio"
    # ... or of other families: Gemma, Llama, Mistral, GLM
    r"|start_of_\w+|end_of_\w+|begin_of_\w+|[be]o[sitpa]|sop|pad|unk|mask|cls|sep|s|image_soft_token"
)
# directly behind its bracket a name is a tag even if nothing closes it; with spaces it may be prose
_TIGHT = re.compile(rf"/?(?:{_NAMES})(?!\w)", re.IGNORECASE)
_NAME = re.compile(rf"\s*+/?\s*+(?:{_NAMES})(?!\w)", re.IGNORECASE)
_MARKS = re.compile(r"[<>|]")
_SQUARE = re.compile(
    r"\[(/?(?:INST|IMG(?:_BREAK|_END)?|[gs]?MASK|(?:AVAILABLE_)?TOOLS|TOOL_(?:CALLS|RESULTS)"
    r"|SYSTEM_PROMPT|THINK))\]"
)

# nobody sees these: soft hyphens, directions, fillers, variation selectors, the tags of plane 14
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_JOINERS = re.compile("[\u200c\u200d]+")  # Persian, Hindi and emoji need them, ASCII does not
_LOOKALIKE = dict(
    zip(
        "аеіоѕсԁһрԛјνοατυɡıӏтмухкηικАЕІОЅСНРТМХКΑΕΗΙΚΜΝΟΡΤΥΧ‹›˂˃ᐸᐳ∣ǀ❘",
        "aeioscdhpqjvoatugiltmyxknikAEIOSCHPTMXKAEHIKMNOPTYX<><><>|||",
        strict=True,
    )
)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """The ASCII character that `character` is, or looks like, else itself: always one."""
    same = unicodedata.normalize("NFKC", character)
    return same if len(same) == 1 and same.isascii() else _LOOKALIKE.get(character, character)


def seen(text: str) -> str:
    """`text` without characters that nobody sees, and without joiners beside ASCII."""
    text = _UNSEEN.sub("", text)

    def joiner(match: re.Match[str]) -> str:
        before, after = (
            text[max(0, match.start() - 1) : match.start()],
            text[match.end() : match.end() + 1],
        )
        return "" if before.isascii() or after.isascii() else match.group()

    return text if text.isascii() else _JOINERS.sub(joiner, text)


def inert(text: str) -> str:
    """`text` with `<|x|>` as `[x]` and `<candidate a="b">` as `[candidate a="b"]`. Idempotent.

    Linear in the text. What stands in other brackets, like `a < b`, stays as it is.
    """
    text = seen(text)
    folded = text if text.isascii() else "".join(map(_plain, text))
    if "<" in folded:
        text = _without_brackets(text, folded)
    return _SQUARE.sub(r"(\1)", text)


def _without_brackets(text: str, folded: str) -> str:
    """`text` without the brackets of tags and control tokens, which are looked for in `folded`."""
    pieces = list(text)
    open_: list[tuple[int, bool]] = []  # (place of a "<", whether it begins a tag)
    bars: list[int] = []  # of each: the bars behind it that stay
    for match in _MARKS.finditer(folded):
        mark, at = match.group(), match.start()
        if mark == "<":
            tight = _TIGHT.match(folded, at + 1) is not None
            if tight:
                pieces[at] = "["
            open_.append((at, tight))
            bars.append(0)
        elif mark == "|":
            if bars:
                bars[-1] += 1
        elif open_:
            (start, tight), inside = open_.pop(), bars.pop()
            if inside == 2 and folded[start + 1] == "|" == folded[at - 1] and at - start > 2:
                pieces[start], pieces[at] = "[", "]"
                pieces[start + 1] = pieces[at - 1] = ""
            elif tight or _NAME.match(folded, start + 1, at):
                pieces[start], pieces[at] = "[", "]"
                if bars:
                    bars[-1] += inside
            else:  # these brackets stay, so none around them is a tag's
                open_.clear()
                bars.clear()
    return "".join(pieces)
