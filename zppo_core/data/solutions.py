"""The final answer in a solution or an assistant's reply, by the marks that data sets use."""

from __future__ import annotations

import re

from zppo_core.rewards.where import extract_boxed

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_HASHES = re.compile(r"(?:^|\n)\s*####\s*([^\n]+?)\s*$")
_SAID = re.compile(
    r"(?:^|[\n.!?]\s*|[*_]{2})(?:so |thus,? |therefore,? |hence,? )?(?:the )?(?:final |correct )?"
    r"answer(?: is|\s*[:：])[*_:\s]*([^\n]+?)[.*_\s]*$",
    re.IGNORECASE,
)
LONGEST_REPLY = 100  # characters of a reply that is an answer and nothing else


def final_answer(text: str, reply: bool = False) -> str:
    r"""The answer that a solution marks: in <answer> tags, behind ####, or in its last \boxed{}.

    Of an assistant's `reply` also what stands behind "the answer is", or all of a short one; ""
    if it marks none.
    """
    visible = text.rpartition("</think>")[2].strip()
    if tagged := _TAGGED.findall(visible):
        return final_answer(tagged[-1]).strip()
    if hashes := _HASHES.search(visible):
        return hashes[1]
    if boxed := extract_boxed(visible):
        return boxed
    if not reply:
        return text
    if stated := _SAID.search(visible):
        return stated[1].strip("$ ")
    return visible if len(visible) <= LONGEST_REPLY and "\n" not in visible else ""
