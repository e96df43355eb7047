"""Where the answer stands: behind the thought, in the last box that holds something."""

from __future__ import annotations

import re
from typing import Literal

from zppo_core.rewards.clean import clean

_BRACES = re.compile(r"\\[{}\\]|[{}]")
_BOX = re.compile(r"\\boxed\s*(?=\{)")
LONGEST_DRESS = 40  # characters
THOUGHT, THOUGHT_END = "<think>", "</think>"

Missing = Literal["no_box", "unfinished"]


def extract_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{...} whose braces balance, stripped; None if there is none.

    A box inside of another is a part of that one. A box left open, as by a cut response, is passed
    over for the one before, and so is one with nothing or with dress alone in it, unless no other
    is there. Linear in the text.
    """
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return None
    closing: dict[int, int] = {}
    open_: list[int] = []
    for match in _BRACES.finditer(text, boxes[0].end()):
        brace = match.group()
        if brace == "{":
            open_.append(match.start())
        elif brace == "}" and open_:
            closing[open_.pop()] = match.start()
    empty = None
    for start in reversed(_outermost(text, boxes, closing)):
        content = text[start + 1 : closing[start]].strip()
        if content and not _only_dress(content):
            return content
        empty = content if empty is None else empty
    return empty


def _outermost(text: str, boxes: list[re.Match[str]], closing: dict[int, int]) -> list[int]:
    r"""Where the closed boxes begin that stand in no other, for what is around an inner one counts.

    Of `\boxed{\boxed{5}}`, where nothing is around it, the inner one is taken.
    """
    outer: list[int] = []
    end = alone = -1  # where the last outermost box ends, and the last one that fills it
    for box in boxes:
        start = box.end()
        if start not in closing:
            continue
        if start > end:
            end = closing[start]
            outer.append(start)
            alone = start
        elif outer[-1] == alone and _fills(text, box, closing, alone):
            outer[-1] = alone = start
        else:
            alone = -1
    return outer


def _fills(text: str, box: re.Match[str], closing: dict[int, int], around: int) -> bool:
    """Whether a box has nothing around it in the one that it stands in."""
    before = text[around + 1 : box.start()]
    return not before.strip() and not text[closing[box.end()] + 1 : closing[around]].strip()


def _only_dress(content: str) -> bool:
    r"""Whether a box holds nothing but `\text{}`, `\quad`, `$$` and their like."""
    if len(content) > LONGEST_DRESS or content[0] not in "\\$*{":
        return False
    return not content.strip("{} ") or not clean(content)


def whole_turn(text: str, thinking: bool, cut: bool) -> str:
    """A sampled response as the chat has it: behind the tag by which its prompt opened the thought.

    That tag is part of the prompt, so it is missing in what was sampled. It is put back where it
    matters: before a response that was `cut` in the thought it was asked for (`thinking`). One that
    ended by itself may have answered without a thought.
    """
    inside = thinking and cut and THOUGHT_END not in text and THOUGHT not in text
    return f"{THOUGHT}\n{text}" if inside else text


def after_thought(response: str) -> str | None:
    """What a response says after its thought; None if its thought never ends."""
    after = response.rpartition(THOUGHT_END)[2]
    return None if THOUGHT in after else after


def find_answer(response: str) -> tuple[str | None, Missing | None]:
    """(the boxed answer, None), or (None, why there is none)."""
    reply = after_thought(response)
    if reply is None:
        return None, "unfinished"
    answer = extract_boxed(reply)
    return (None, "no_box") if answer is None else (answer, None)
