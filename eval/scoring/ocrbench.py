"""OCRBench v2: which official metric scores which type of row, and which category it counts in.

`eval.scoring` runs it in a killable worker: the structured metrics are slow on long answers.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

from eval.scoring import ocr_boxes, ocr_tables, ocr_text
from eval.scoring.dress import undressed
from zppo_core.rewards.clean import typography

_KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "text recognition": {
        "en": ("text recognition", "fine-grained text recognition", "full-page OCR"),
        "cn": ("full-page OCR",),
    },
    "text detection": {"en": ("text grounding", "VQA with position")},
    "text spotting": {"en": ("text spotting",)},
    "relationship extraction": {
        "en": ("key information extraction", "key information mapping"),
        "cn": ("key information extraction", "handwritten answer extraction"),
    },
    "element parsing": {
        "en": ("document parsing", "chart parsing", "table parsing", "formula recognition"),
        "cn": ("document parsing", "table parsing", "formula recognition"),
    },
    "mathematical calculation": {"en": ("math QA", "text counting")},
    "visual text understanding": {
        "en": ("document classification", "cognition VQA", "diagram QA"),
        "cn": ("cognition VQA",),
    },
    "knowledge reasoning": {
        "en": ("reasoning VQA", "science QA", "APP agent", "ASCII art classification"),
        "cn": ("reasoning VQA", "text translation"),
    },
}
# type -> category; the two languages share names, a suite has one of them
CATEGORIES: dict[str, str] = {
    f"{kind} {language}": category
    for category, kinds in _KINDS.items()
    for language, names in kinds.items()
    for kind in names
}

Answers = Sequence[str]


class Extra(TypedDict, total=False):
    """What a row says besides, by its type."""

    type: str
    question: str
    eval: str
    bbox: list[int]
    bbox_list: list[list[int]]
    content: list[str]


def score(answer: str, golds: Answers, extra: Extra) -> float:
    """The official score of one row, 0 to 1, for a type of `CATEGORIES`.

    The better one of the answer as it stands and without the dress that its box gave it.
    """
    if not answer.strip():
        return 0.0
    kind, _, language = str(extra["type"]).rpartition(" ")
    metric = _METRICS.get(f"{kind} {language}") or _METRICS.get(kind) or _questions
    best = float(metric(answer, golds, extra))
    plain = undressed(answer)
    if best < 1.0 and plain and plain != answer.strip():
        best = max(best, float(metric(plain, golds, extra)))
    if best < 1.0 and metric is _questions:  # elsewhere the page's own signs are what is asked for
        best = max(best, float(metric(typography(plain), [typography(g) for g in golds], extra)))
    return best


def uses_meteor(extra: Mapping[str, object]) -> bool:
    """Whether a row's metric may be that of a page, of which METEOR is a quarter."""
    kind = str(extra["type"]).rpartition(" ")[0]
    return _METRICS.get(kind) in (_page, _handwritten)


def _questions(answer: str, golds: Answers, extra: Extra) -> float:
    """The kinds of visual question answering."""
    if extra["eval"] == "multiple choice":
        return float("".join(c for c in answer if c.isalpha()) == golds[0])
    if extra["eval"] == "case sensitive":
        return ocr_text.contained(answer, golds, lower=False)
    if str(extra["type"]).endswith("cn"):
        return ocr_text.contained_chinese(answer, golds)
    return ocr_text.contained(answer, golds)


def _page(answer: str, golds: Answers, extra: Extra) -> float:
    return ocr_text.page(answer, golds[0])


def _handwritten(answer: str, golds: Answers, extra: Extra) -> float:
    """Short answers as a page; marked letters in any of the usual ways to join them."""
    if "简答" in extra["question"]:
        return ocr_text.page(answer, golds[0])
    joints = ("", ".", ". ", ",", ", ", "、", ";", "; ", " ", "和")
    return float(any(joint.join(golds[0]) in answer for joint in joints))


def _formula(answer: str, golds: Answers, extra: Extra) -> float:
    return ocr_text.formula(answer, golds, chinese=str(extra["type"]).endswith("cn"))


def _counting(answer: str, golds: Answers, extra: Extra) -> float:
    return ocr_text.counting(answer, golds, str(extra["eval"]))


def _table(answer: str, golds: Answers, extra: Extra) -> float:
    if str(extra["type"]).endswith("cn") or "html" in extra["question"].lower():
        return ocr_tables.html_table(answer, golds[0])
    return ocr_tables.markdown_table(answer, golds[0])


def _key_information(answer: str, golds: Answers, extra: Extra) -> float:
    return ocr_tables.key_values(answer, golds[0])


def _position(answer: str, golds: Answers, extra: Extra) -> float:
    """Half for the answer, half for the overlap of the box."""
    given = ocr_tables.read_dict(answer)
    content = ocr_text.contained(given["answer"], golds) if "answer" in given else 0.0
    return 0.5 * content + 0.5 * ocr_boxes.overlap(_box(given.get("bbox", "")), extra["bbox"])


def _box(text: str) -> list[int] | None:
    try:
        return [int(c) for c in ast.literal_eval(text)]
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        return None


def _grounding(answer: str, golds: Answers, extra: Extra) -> float:
    gold = [int(float(c)) for c in golds] if len(golds) == 4 else _box(golds[0])
    return ocr_boxes.overlap(ocr_boxes.last_box(answer), gold)


def _spotting(answer: str, golds: Answers, extra: Extra) -> float:
    return ocr_boxes.spotting(answer, extra["bbox_list"], extra["content"])


_METRICS: dict[str, Callable[[str, Answers, Extra], float]] = {
    "full-page OCR": _page,
    "fine-grained text recognition": _page,
    "text translation": _page,
    "handwritten answer extraction": _handwritten,
    "formula recognition": _formula,
    "text counting": _counting,
    "table parsing": _table,
    "chart parsing": lambda answer, golds, extra: ocr_tables.chart(answer, golds[0]),
    "document parsing": lambda answer, golds, extra: ocr_tables.document(answer, golds[0]),
    "key information extraction": _key_information,
    "key information mapping": _key_information,
    "VQA with position": _position,
    "text grounding": _grounding,
    "text spotting": _spotting,
}
