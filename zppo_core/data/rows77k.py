"""A row of either source as one form, with its cheap faults found before its image is opened."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zppo_core.data.zppo77k import (
    BY_NAME,
    MAX_ANSWER,
    MAX_PASS_RATE,
    MIN_SIDE,
    UNUSABLE_REWARDS,
    Source,
    canonical,
    strip_directives,
)
from zppo_core.pixels import readable

COLUMNS: dict[Source, tuple[str, ...]] = {
    "vero": ("id", "data_source", "prompt", "image", "reward_model", "extra_info"),
    "mmfine": ("source", "id", "question", "answer", "image", "pass_rate"),
}
RENAMED = {"qwen3vl_4b_pass_rate": "pass_rate"}


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


def read_row(source: Source, raw: Mapping[str, Any], number: int, config: str = "") -> Row:
    """`raw` as a `Row`, the `number`-th of its file; KeyError on an unknown sub-dataset name."""
    return _vero(raw, number, config) if source == "vero" else _mmfine(raw, number)


def _vero(raw: Mapping[str, Any], number: int, config: str) -> Row:
    name = config or str(raw["data_source"])
    extra, model = raw.get("extra_info") or {}, raw.get("reward_model") or {}
    question = str(extra.get("question") or user_text(raw.get("prompt")))
    answer = extra.get("answer")
    if answer in (None, "", []):
        answer = model.get("ground_truth")
    reward = str(extra.get("reward_type") or "").strip().lower().replace(" ", "_")
    fault = f"gold of type {reward}" if reward in UNUSABLE_REWARDS else ""
    row = Row(
        "vero", name, canonical("vero", name) or "", str(raw.get("id") or number),
        strip_directives(question), short_answer(answer), image_bytes(raw.get("image")), None,
        fault, reward == "llm_judge",
    )  # fmt: skip
    return _checked(row, raw.get("image"))


def _mmfine(raw: Mapping[str, Any], number: int) -> Row:
    name = str(raw["source"])
    rate = raw.get("pass_rate")
    if rate is None:
        rate = raw.get("qwen3vl_4b_pass_rate")
    found = canonical("mmfine", name) or ""
    fault = ""
    if found and BY_NAME[found].vero:
        fault = "sub-dataset taken from Vero"
    elif rate is not None and float(rate) > MAX_PASS_RATE:
        fault = "pass rate above 0.5"
    row = Row(
        "mmfine", name, found, str(raw.get("id") or number),
        strip_directives(str(raw.get("question") or "")), short_answer(raw.get("answer")),
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
            return str(message["content"])
    return ""


def short_answer(answer: Any) -> str:
    """Lists written with commas, everything else as text."""
    if isinstance(answer, (list, tuple)):
        return ", ".join(str(a).strip() for a in answer)
    return "" if answer is None else str(answer).strip()


def image_bytes(image: Any) -> bytes:
    """The encoded bytes of an image cell, b"" if there are none or more than one image."""
    if isinstance(image, list):
        image = image[0] if len(image) == 1 else None
    if isinstance(image, Mapping):
        image = image.get("bytes")
    return image if isinstance(image, bytes) else b""


def _checked(row: Row, image: Any) -> Row:
    """`row` with its first fault among those that cost nothing to find."""
    from dataclasses import replace

    fault = row.fault
    if not row.canonical:
        fault = "sub-dataset not listed"
    elif not fault and not row.question:
        fault = "no question"
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
    from PIL import Image

    try:
        with readable(), Image.open(io.BytesIO(data)) as image:
            image.load()
            size = image.size
    except (OSError, ValueError):
        return (0, 0), "unreadable image"
    return size, "" if min(size) >= MIN_SIDE else "image smaller than 100 pixels"
