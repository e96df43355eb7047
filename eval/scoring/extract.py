"""Finds the answer in a response: behind its thinking, the last box, else what is said there."""

from __future__ import annotations

from zppo_core.grading import extract_boxed

START, END = "<think>", "</think>"


def extract(output: str, thinking: bool, cut: bool = False) -> tuple[str | None, str]:
    r"""(answer, extractor): behind the thinking the last \boxed{...}, else the text, else nothing.

    A reasoning that never ends has no answer, whatever boxes are in it; with `thinking` the prompt
    has begun one. A response that was `cut` has no text but a box. Extractors: "last box", "after
    thinking", "none", "unfinished".
    """
    said = after_thinking(output, thinking)
    if said is None:
        return None, "unfinished"
    boxed = extract_boxed(said)
    if boxed:
        return boxed, "last box"
    answer = final_text(output, thinking, cut)
    return (answer, "after thinking") if answer else (None, "none")


def after_thinking(output: str, thinking: bool) -> str | None:
    """What a response says after its thinking, stripped; None if that never ends."""
    before, end, after = output.rpartition(END)
    if START in after or (not end and (thinking or START in before)):
        return None
    return after.strip()


def final_text(output: str, thinking: bool, cut: bool = False) -> str:
    """The same, "" if it does not come to that; nothing of an answer that was `cut`."""
    said = after_thinking(output, thinking)
    return "" if said is None or (cut and END not in output) else said
