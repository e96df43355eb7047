"""A row of either source as one form, with its cheap faults found before its image is opened."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zppo_core.data.directives import strip_directives
from zppo_core.data.zppo77k import (
    MAX_ANSWER,
    MAX_PASS_RATE,
    MIN_SIDE,
    UNUSABLE_PREFIX,
    UNUSABLE_REWARDS,
    Names,
    Source,
)
from zppo_core.errors import UserError
from zppo_core.pixels import opened, upright_size

COLUMNS: dict[Source, tuple[str, ...]] = {
    "vero": ("id", "data_source", "prompt", "image", "reward_model", "extra_info"),
    "mmfine": ("source", "id", "question", "answer", "image", "pass_rate"),
}
RENAMED = {"qwen3vl_4b_pass_rate": "pass_rate"}
PAPER = Names()
# what steers a chat template or stands for a picture: <|im_end|>, <|image_pad|>
CONTROL = re.compile(r"<\|\w{2,}\|>")


@dataclass(frozen=True)
class Row:
    """One candidate triple; `fault` says why it is out, "" while nothing speaks against it."""

    source: Source
    sub_dataset: str  # as the source names it
    canonical: str  # "" if the paper lists it in neither tier
    id: str
    question: str
    answer: str
    image: bytes
    pass_rate: float | None
    fault: str = ""
    judged: bool = False  # the gold answer is free text

    @property
    def key(self) -> str:
        """The question's id in the corpus."""
        return f"{self.source}/{self.sub_dataset}/{self.id}"

    def priority(self, seed: int) -> int:
        """Where the row stands in its sub-dataset's seeded order; small is early."""
        digest = hashlib.sha256(f"{seed}\0{self.canonical}\0{self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big")


def read_row(source: Source, raw: Mapping[str, Any], place: str, config: str = "",
             names: Names = PAPER) -> Row:  # fmt: skip
    """`raw` as a `Row`; `place`, its file and number, is its id if it has none.

    UnknownNameError on a sub-dataset that nobody knows, UserError if none is named.
    """
    name = name_of(source, raw, config)
    given = raw.get("id")
    row_id = place if given is None or given == "" else str(given)
    return (
        _vero(raw, name, row_id, names) if source == "vero" else _mmfine(raw, name, row_id, names)
    )


def name_of(source: Source, raw: Mapping[str, Any], config: str = "") -> str:
    """The sub-dataset as the source names it; UserError if the row names none."""
    column = "data_source" if source == "vero" else "source"
    name = config or str(raw.get(column) or "")
    if not name:
        raise UserError(f"a row of {source} has nothing in column {column!r}, only "
                        f"{', '.join(raw)}; lay the data out as on the hub")  # fmt: skip
    return name


def _vero(raw: Mapping[str, Any], name: str, row_id: str, names: Names) -> Row:
    extra, model = raw.get("extra_info") or {}, raw.get("reward_model") or {}
    question = content_text(extra.get("question")) or user_text(raw.get("prompt"))
    answer = extra.get("answer")
    if answer in (None, "", []):
        answer = model.get("ground_truth")
    reward = str(extra.get("reward_type") or "").strip().lower().replace(" ", "_")
    unusable = reward in UNUSABLE_REWARDS or reward.startswith(UNUSABLE_PREFIX)
    fault = f"gold of type {reward}" if unusable else ""
    if reward == "list_string_match":
        answer = first_of(answer)
    row = Row(
        "vero", name, names.canonical("vero", name) or "", row_id,
        strip_directives(question), short_answer(answer), image_bytes(raw.get("image")), None,
        fault, reward == "llm_judge",
    )  # fmt: skip
    return _checked(row, raw.get("image"))


def _mmfine(raw: Mapping[str, Any], name: str, row_id: str, names: Names) -> Row:
    rate = raw.get("pass_rate")
    if rate is None:
        rate = raw.get("qwen3vl_4b_pass_rate")
    found = names.canonical("mmfine", name) or ""
    fault = ""
    if found and names.by_name[found].vero:
        fault = "sub-dataset taken from Vero"
    elif rate is not None and float(rate) > MAX_PASS_RATE:
        fault = "pass rate above 0.5"
    row = Row(
        "mmfine", name, found, row_id,
        strip_directives(content_text(raw.get("question"))), short_answer(raw.get("answer")),
        image_bytes(raw.get("image")), None if rate is None else float(rate), fault,
    )  # fmt: skip
    return _checked(row, raw.get("image"))


def user_text(prompt: Any) -> str:
    """The user's text of a list of messages, or of the struct of two lists that Parquet makes."""
    if isinstance(prompt, Mapping):
        pairs = zip(prompt.get("role", ()), prompt.get("content", ()), strict=False)
        messages = [{"role": role, "content": content} for role, content in pairs]
    else:
        messages = list(prompt or ())
    for message in messages:
        if message["role"] == "user":
            return content_text(message["content"])
    return ""


def content_text(content: Any) -> str:
    """A message's text: itself, or its text parts one below the other."""
    if isinstance(content, (list, tuple)):
        parts = [p.get("text") if isinstance(p, Mapping) else p for p in content]
        return "\n".join(str(p) for p in parts if p)
    return "" if content is None else str(content)


def short_answer(answer: Any) -> str:
    """Lists written with commas, everything else as text."""
    if isinstance(answer, (list, tuple)):
        return ", ".join(str(a).strip() for a in answer)
    return "" if answer is None else str(answer).strip()


def answer_kind(answer: str) -> str:
    """letter, number, short (at most 12 characters) or long."""
    if len(answer) == 1 and answer.isalpha():
        return "letter"
    try:
        float(answer.replace(",", "").rstrip("%"))
    except ValueError:
        return "short" if len(answer) <= 12 else "long"
    return "number"


def first_of(answer: Any) -> Any:
    """The first of a list of accepted strings, which Vero's code compares one by one.

    The list may be written as text; anything else is returned as it is.
    """
    if isinstance(answer, str) and answer.strip().startswith("["):
        try:
            answer = ast.literal_eval(answer.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return answer
    if isinstance(answer, (list, tuple)):
        return answer[0] if answer else None
    return answer


def image_bytes(image: Any) -> bytes:
    """The encoded bytes of an image cell, b"" if there are none or more than one image."""
    if isinstance(image, list):
        image = image[0] if len(image) == 1 else None
    if isinstance(image, Mapping):
        image = image.get("bytes")
    return image if isinstance(image, bytes) else b""


def _checked(row: Row, image: Any) -> Row:
    """`row` with its first fault among those that cost nothing to find."""
    fault = row.fault
    if not row.canonical:
        fault = "sub-dataset not listed"
    elif not fault and not row.question:
        fault = "no question"
    elif not fault and CONTROL.search(row.question):
        fault = "control text in the question"
    elif not fault and not row.answer:
        fault = "no answer"
    elif not fault and len(row.answer) > MAX_ANSWER:
        fault = "answer longer than 512 characters"
    elif not fault and not row.image:
        several = isinstance(image, list) and len(image) > 1
        fault = "several images" if several else "no image"
    return replace(row, fault=fault)


def open_image(data: bytes) -> tuple[tuple[int, int], str]:
    """((width, height), fault): decoded to the end, and at least 100 pixels on both sides."""
    try:
        with opened(data) as image:
            image.load()
            size = upright_size(image)
    except (OSError, ValueError):
        return (0, 0), "unreadable image"
    return size, "" if min(size) >= MIN_SIDE else "image smaller than 100 pixels"
