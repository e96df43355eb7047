"""Finds the answer in a response: the last box, else what follows the thinking."""

from __future__ import annotations

from zppo_core.rewards.where import extract_boxed

END = "</think>"


def extract(output: str, thinking: bool, cut: bool = False) -> tuple[str | None, str]:
    r"""(answer, extractor): the last \boxed{...}, else the text after the thinking, else nothing.

    A response that was `cut`, or that never ends its thinking, has no text after it. Extractors:
    "last box", "after thinking", "none".
    """
    boxed = extract_boxed(output)
    if boxed:
        return boxed, "last box"
    answer = final_text(output, thinking, cut)
    return (answer, "after thinking") if answer else (None, "none")


def final_text(output: str, thinking: bool, cut: bool = False) -> str:
    """What a response says after its thinking, stripped; "" if it does not come to that."""
    before, end, after = output.rpartition(END)
    if end:
        return after.strip()
    if thinking or cut or "<think>" in before or "<think>" in after:
        return ""
    return after.strip()
