"""A row of either source as one form, with its cheap faults found before its image is opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from zppo_core.data.directives import answer_form, strip_directives, with_form
from zppo_core.data.kinds import TypedAnswer, options_for, plain_type, typed_answer
from zppo_core.data.layouts import content_text, messages_of
from zppo_core.data.pixels import opened, upright_size
from zppo_core.data.values import (
    UnusableError,
    answer_text,
    is_missing,
    number_of,
    text_of,
    tolerance_of,
)
from zppo_core.data.zppo77k.similar import plain_gold
from zppo_core.data.zppo77k.sources import (
    MAX_ANSWER,
    MAX_PASS_RATE,
    MIN_SIDE,
    Names,
    Source,
)
from zppo_core.errors import UserError

COLUMNS: dict[Source, tuple[str, ...]] = {
    "vero": ("id", "data_source", "prompt", "image", "reward_model", "extra_info"),
    "mmfine": ("source", "id", "question", "answer", "image", "pass_rate"),
}
RENAMED = {"qwen3vl_4b_pass_rate": "pass_rate"}
PAPER = Names()
# what steers a chat template or stands for a picture: <|im_end|>, <|image_pad|>
CONTROL = re.compile(r"<\|\w{2,}\|>")
MAX_TEXT = 1_000_000  # characters of a question: more is no prompt, and is slow to tokenise


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
    kind: str = ""  # of the answer, as the source tells it
    options: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()  # further right answers
    tolerance: float | None = None  # relative, of numbers
    reward_type: str = ""  # as the source names it
    form: str = ""  # that a directive which was taken out wanted
    counted: tuple[str, ...] = ()  # what is odd about it, though it stays

    @property
    def text(self) -> str:
        """The question with the form of answer that is wanted: what is asked."""
        return with_form(self.question, self.form, self.answer)

    @property
    def key(self) -> str:
        """The question's id in the corpus."""
        return f"{self.source}/{self.sub_dataset}/{self.id}"

    def priority(self, seed: int) -> int:
        """Where the row stands in its sub-dataset's seeded order; small is early."""
        digest = hashlib.sha256(f"{seed}\0{self.canonical}\0{self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big")


def read_row(
    source: Source, raw: Mapping[str, object], place: str, config: str = "", names: Names = PAPER
) -> Row:
    """`raw` as a `Row`; `place`, its file and number, is its id if it has none.

    UnknownNameError on a sub-dataset that nobody knows, UserError if none is named.
    """
    name = name_of(source, raw, config)
    given = raw.get("id")
    row_id = place if is_missing(given) else str(given).encode(errors="replace").decode()
    canonical = names.canonical(source, name) or ""
    image = raw.get("image")
    row = Row(source, name, canonical, row_id, "", "", image_bytes(image), None)
    if not canonical:
        return replace(row, fault="sub-dataset not listed")
    try:
        row = _vero(row, raw) if source == "vero" else _mmfine(row, raw, names)
    except UnusableError as error:
        return replace(row, fault=str(error).removeprefix("with "))
    return _checked(row, image)


def name_of(source: Source, raw: Mapping[str, object], config: str = "") -> str:
    """The sub-dataset as the source names it; UserError if the row names none."""
    column = "data_source" if source == "vero" else "source"
    name = config or str(raw.get(column) or "")
    if not name:
        raise UserError(
            f"a row of {source} has nothing in column {column!r}, only "
            f"{', '.join(raw)}; lay the data out as on the hub"
        )
    return name


def _vero(row: Row, raw: Mapping[str, object]) -> Row:
    """A row of Vero; its gold is what its own verifier grades, `reward_model.ground_truth`."""
    extra, model = _mapping(raw.get("extra_info")), _mapping(raw.get("reward_model"))
    question = content_text(extra.get("question")) or user_text(raw.get("prompt"))
    truth, answer = model.get("ground_truth"), extra.get("answer")
    reward_type = plain_type(extra.get("reward_type"))
    gold = typed_answer(answer if is_missing(truth) else truth, reward_type)
    if gold.fault:
        return replace(row, answer=gold.gold, fault=gold.fault, reward_type=reward_type)
    counted: tuple[str, ...] = ()
    if not is_missing(truth) and not is_missing(answer) and not _agree(gold, answer, reward_type):
        counted = ("gold differs from extra_info.answer",)
    row = _asked(row, question, gold.gold)
    return replace(
        row,
        judged=gold.judged,
        kind=gold.kind,
        accepted=gold.accepted,
        options=options_for(gold.gold, gold.kind, row.question),
        tolerance=tolerance_of(extra.get("tolerance")),
        reward_type=reward_type,
        counted=counted,
    )


def _agree(gold: TypedAnswer, answer: object, reward_type: str) -> bool:
    """Whether the answer that nobody grades is the gold one, or one that is accepted too."""
    try:
        other = typed_answer(answer, reward_type)
    except UnusableError:
        return False
    given = {plain_gold(a) for a in (other.gold, *other.accepted)}
    return not given.isdisjoint(plain_gold(a) for a in (gold.gold, *gold.accepted))


def _mmfine(row: Row, raw: Mapping[str, object], names: Names) -> Row:
    rate = _rate(raw)
    fault = ""
    if names.by_name[row.canonical].vero:
        fault = "sub-dataset taken from Vero"
    elif rate is not None and rate > MAX_PASS_RATE:
        fault = "pass rate above 0.5"
    if fault:
        return replace(row, fault=fault, pass_rate=rate)
    row = _asked(row, content_text(raw.get("question")), answer_text(raw.get("answer")))
    return replace(
        row,
        pass_rate=rate,
        options=options_for(row.answer, "", row.question),
        counted=() if rate is not None else ("no pass rate",),
    )


def _rate(raw: Mapping[str, object]) -> float | None:
    """The row's pass rate, None if it has none that is a number."""
    rate = raw.get("pass_rate")
    rate = raw.get("qwen3vl_4b_pass_rate") if is_missing(rate) else rate
    return None if is_missing(rate) else number_of(rate)


def _asked(row: Row, question: str, gold: str) -> Row:
    """`row` with its texts, without directives on the form of the answer."""
    question = text_of(question)
    if len(question) > MAX_TEXT:
        raise UnusableError(f"question longer than {MAX_TEXT:,} characters")
    clean = strip_directives(question)
    form = answer_form(question) if clean != question else ""
    return replace(row, question=clean, answer=gold, form=form)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def user_text(prompt: object) -> str:
    """The user's text of a list of messages, or of the struct of two lists that Parquet makes."""
    for message in messages_of(prompt) or ():
        if message["role"] == "user":
            return content_text(message["content"])
    return ""


def answer_kind(answer: str) -> str:
    """letter, number, short (at most 12 characters) or long."""
    if len(answer) == 1 and answer.isalpha():
        return "letter"
    try:
        float(answer.replace(",", "").rstrip("%"))
    except ValueError:
        return "short" if len(answer) <= 12 else "long"
    return "number"


def image_bytes(image: object) -> bytes:
    """The encoded bytes of an image cell, b"" if there are none or more than one image."""
    if isinstance(image, list):
        image = image[0] if len(image) == 1 else None
    if isinstance(image, Mapping):
        image = image.get("bytes")
    return image if isinstance(image, bytes) else b""


def _checked(row: Row, image: object) -> Row:
    """`row` with its first fault among those that cost nothing to find."""
    fault = row.fault
    if not fault and not row.question:
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
