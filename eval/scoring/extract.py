"""Finds the answer in a response: behind its thinking, the last box, else what is said there."""

from __future__ import annotations

from zppo_core.rewards.where import extract_boxed

START, END = "<think>", "</think>"


def extract(output: str, thinking: bool, cut: bool = False) -> tuple[str | None, str]:
    r"""(answer, extractor): behind the thinking the last \boxed{...}, else the text, else nothing.

    A reasoning that never ends has no answer, whatever boxes are in it. `thinking`: it was asked
    for, and most templates begin it, so that a response without the end of one is all reasoning:
    never ended if it was `cut`; if it stopped by itself, its box counts and nothing else (a model
    may answer without thinking). A response that was `cut` has no text but a box. Extractors: "last
    box", "after thinking", "none", "unfinished".
    """
    reply = after_thinking(output, thinking and cut)
    if reply is None:
        return None, "unfinished"
    boxed = extract_boxed(reply)
    if boxed:
        return boxed, "last box"
    answer = final_text(output, thinking, cut)
    if answer:
        return answer, "after thinking"
    return None, "unfinished" if after_thinking(output, thinking) is None else "none"


def after_thinking(output: str, opened: bool) -> str | None:
    """What a response says after its thinking, stripped; None if that never ends.

    `opened`: the prompt has begun it.
    """
    before, end, after = output.rpartition(END)
    if START in after or (not end and (opened or START in before)):
        return None
    return after.strip()


def final_text(output: str, thinking: bool, cut: bool = False) -> str:
    """The same, "" if it does not come to that; nothing of an answer that was `cut`."""
    reply = after_thinking(output, thinking)
    return "" if reply is None or (cut and END not in output) else reply
