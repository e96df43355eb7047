"""What a corpus tells of an answer: by the reward type of Vero and verl, and by its question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zppo_core.data.values import answer_text, is_missing, text_list, texts_of
from zppo_core.types import Question

# reward types whose gold is no short answer; names of instruction following vary
UNUSABLE = ("grounding", "clicking", "web_action")
UNUSABLE_PREFIX = "instruction_following"
JUDGED = ("llm_judge", "judge", "llm_as_judge", "free_form")
ACCEPTED = ("list_string_match",)  # a list of accepted texts, of which one is to be said
# the kinds of `AnswerSpec` that a reward type decides
KINDS = {
    "multiple_choice": "choice",
    "mcq": "choice",
    "numeric": "number",
    "counting": "number",
    "ordering": "ordered",
    "number_list": "ordered",
    "list_match": "list",
}
LISTS = ("ordered", "list")
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class TypedAnswer:
    """A gold answer with what its source tells of it; `fault` says why it cannot be used."""

    gold: str
    kind: str = ""
    accepted: tuple[str, ...] = ()
    judged: bool = False
    fault: str = ""


def plain_type(reward_type: object) -> str:
    """A reward type in lower case with underscores: "LLM-Judge" is "llm_judge"."""
    text = "" if is_missing(reward_type) else str(reward_type)
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def typed_answer(answer: object, reward_type: object = "") -> TypedAnswer:
    """The gold of a source's `answer` under its reward type.

    A list of accepted texts gives its first as the gold and the others beside it; other lists are
    written with commas, in their order. Both may be written as text.
    """
    name = plain_type(reward_type)
    if name in UNUSABLE or name.startswith(UNUSABLE_PREFIX):
        return TypedAnswer(str(answer or ""), fault=f"gold of type {name}")
    kind = KINDS.get(name, "")
    listed = answer
    if isinstance(answer, str) and (name in ACCEPTED or kind in LISTS):
        entries = text_list(answer)
        listed = answer if entries is None else entries
    if name in ACCEPTED and isinstance(listed, (list, tuple)):
        accepted = list(dict.fromkeys(texts_of(list(listed))))
        return TypedAnswer(accepted[0] if accepted else "", accepted=tuple(accepted[1:]))
    return TypedAnswer(answer_text(listed), kind, judged=name in JUDGED)


_NUMBER = r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)"
_SHAPES = {
    "choice": r"\(?[A-J]\)?",
    "boolean": r"(?i:yes|no|true|false)",
    "integer": _NUMBER,
    "decimal": rf"(?:{_NUMBER})?\.\d+|{_NUMBER}\.\d*",
    "percentage": rf"{_NUMBER}(?:\.\d+)?\s*\\?%",
    "fraction": rf"{_NUMBER}\s*/\s*\d+|[-+−]?\\[dt]?frac\s*\{{?-?\d+\}}?\s*\{{?\d+\}}?",
    "list": r"[^,;()\[\]\\{}]+(?:[,;]\s*[^,;()\[\]\\{}]+)+",
    "quantity": rf"\$?\s?{_NUMBER}(?:\.\d+)?\s?[^\W\d_°]?[\w°/²³^€£ ]*",
    "name": r"[^\W\d_][^\d\\=<>+*^_$]*",
}


def kind_of(question: Question) -> str:
    """The kind of a question's answer, for counts: what the corpus tells, else what it looks like.

    It decides nothing: `rewards` reads the gold answer for itself.
    """
    if question.judged:
        return "free text"
    if question.kind or question.options:
        return question.kind or "choice"
    gold = question.gold.strip()
    if gold.startswith("$") and gold.endswith("$"):
        gold = gold.strip("$ ")
    shapes = (name for name, shape in _SHAPES.items() if re.fullmatch(shape, gold[:200]))
    return next(shapes, "expression")


def options_for(gold: str, kind: str, text: str) -> tuple[str, ...]:
    """The options of a question whose gold is the letter of one of them, else none."""
    if kind not in ("", "choice") or not re.fullmatch(r"\(?[A-J]\)?\.?", gold.strip()):
        return ()
    options = read_options(text)
    return options if LETTERS.index(gold.strip("(). ")) < len(options) else ()


# "A) 1", "(A) 1", "A. 1", "A: 1", also small: at the beginning of a line, or after space
_MARKS = (
    re.compile(r"(?:(?<=\s)|^)\(([A-Ja-j])\)\s*", re.MULTILINE),
    re.compile(r"(?:(?<=\s)|^)([A-Ja-j])\)\s*", re.MULTILINE),
    re.compile(r"(?:(?<=\s)|^)([A-Ja-j])[.．、](?=\s|\S)\s*", re.MULTILINE),
    re.compile(r"(?:(?<=\s)|^)([A-Ja-j])[:：]\s*", re.MULTILINE),
)


def read_options(text: str) -> tuple[str, ...]:
    """The texts of the options A, B, ... that a question lists; none unless each says something.

    Of several lists the last counts.
    """
    for pattern in _MARKS:
        for upper in (True, False):
            marks = [m for m in pattern.finditer(text) if m[1].isupper() == upper]
            if options := _texts(text, _last_run([m[1].upper() for m in marks]), marks):
                return options
    return ()


def _last_run(letters: Sequence[str]) -> range:
    """Where the last run A, B, ... stands in `letters`."""
    best = range(0)
    for start, letter in enumerate(letters):
        if letter != "A":
            continue
        end = start
        while end < len(letters) and letters[end] == LETTERS[min(end - start, 9)]:
            end += 1
        best = range(start, end) if end - start >= 2 else best
    return best


def _texts(text: str, run: range, marks: Sequence[re.Match[str]]) -> tuple[str, ...]:
    options = []
    for i in run:
        end = marks[i + 1].start() if i + 1 in run else len(text)
        option = text[marks[i].end() : end]
        if i + 1 not in run:  # the last ends with its line
            option = option.split("\n")[0]
        options.append(" ".join(option.split()).rstrip(",;").strip())
    return tuple(options) if options and all(options) else ()
