"""A corpus of one's own: any table with question, answer and image columns, by a mapping."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from zppo_core.data.files import is_place, table_files
from zppo_core.errors import UserError
from zppo_core.pixels import ANY_SIZE, Bounds, as_rgb, plain_bytes
from zppo_core.types import Question

ROLES = ("question", "answer", "image", "id", "category", "judged")
MOST_FAULTY = 0.05  # share of rows that may be left out before the corpus is refused


@dataclass(frozen=True)
class Report:
    """What became of a table's rows."""

    kept: int
    dropped: Mapping[str, int]  # reason -> rows

    def text(self) -> str:
        """One line: rows kept, and dropped by reason."""
        reasons = ", ".join(f"{n} {why}" for why, n in sorted(self.dropped.items()))
        return f"{self.kept} questions" + (f"; left out: {reasons}" if reasons else "")


def parse_columns(text: str) -> dict[str, str]:
    """`question=prompt,answer=solution` as a mapping; UserError names an unknown role."""
    columns = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        role, equals, column = part.partition("=")
        if not equals or role not in ROLES:
            raise UserError(f"data.columns: {part!r}; write role=column with {', '.join(ROLES)}")
        columns[role] = column
    return {"question": "question", "answer": "answer", **columns}


def open_rows(source: str) -> Iterable[Mapping[str, Any]]:
    """The rows of a file, a folder of files, an S3 prefix or a hub id, through `datasets`."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    if is_place(source):
        return chain.from_iterable(file.rows() for file in table_files(source))
    rows: Iterable[Mapping[str, Any]] = load_dataset(source, split="train", streaming=True)
    return rows


def read_table(source: str, columns: str,
               bounds: Bounds = ANY_SIZE, fault: Callable[[Question], str] = lambda _: "",
               ) -> tuple[list[Question], Report]:  # fmt: skip
    """The questions of a table and what was left out; UserError if it cannot serve a run.

    A row needs a question and an answer; images may be files, bytes or lists of them, and are
    scaled into `bounds`. Ids must be distinct; without an id column they are row numbers. `fault`
    says of a question why it is to be left out, or nothing.
    """
    mapping = parse_columns(columns)
    questions: list[Question] = []
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    for number, row in enumerate(open_rows(source)):
        missing = [c for role, c in mapping.items() if c not in row]
        if missing:
            raise UserError(
                f"{source} has no column {missing[0]!r} but {', '.join(row)}; set data.columns"
            )
        question_id = str(row[mapping["id"]]) if "id" in mapping else f"row-{number:07d}"
        # an answer may be 0
        values = [row[mapping[role]] for role in ("question", "answer")]
        text, answer = ("" if v is None else str(v).strip() for v in values)
        why = ""
        images: tuple[bytes, ...] = ()
        if not text or not answer:
            why = "without question or answer"
        elif question_id in seen:
            why = "with an id seen before"
        elif "image" in mapping:
            try:
                given = encode_images(row[mapping["image"]])
                images = tuple(bounds.scaled(data, small=True) for data in given)
            except (OSError, ValueError, TypeError):
                why = "with an unreadable image"
        category = str(row[mapping["category"]]) if "category" in mapping else ""
        family = "VLM" if images else "LLM"
        judged = bool(row[mapping["judged"]]) if "judged" in mapping else False
        question = Question(question_id, text, answer, images, family, category, judged)
        if why := why or fault(question):
            dropped[why] += 1
            continue
        seen.add(question_id)
        questions.append(question)
    report = Report(len(questions), dict(dropped))
    if sum(dropped.values()) > MOST_FAULTY * (len(questions) + sum(dropped.values())):
        raise UserError(f"{source} is not fit to train on: {report.text()}")
    return questions, report


def encode_images(value: Any) -> tuple[bytes, ...]:
    """PNG or JPEG bytes of one image or a list: PIL images, bytes, {"bytes": ...} or paths.

    Raises OSError, ValueError or TypeError if one cannot be read.
    """
    from PIL import Image

    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    encoded = []
    for item in items:
        if isinstance(item, Mapping):
            item = item.get("bytes") or item.get("path")
        if isinstance(item, str):
            item = Path(item).read_bytes()
        if isinstance(item, Image.Image):
            buffer = io.BytesIO()
            as_rgb(item).save(buffer, "PNG")
            item = buffer.getvalue()
        if not isinstance(item, bytes):
            raise TypeError(f"{type(item).__name__} is no image")
        encoded.append(plain_bytes(item))
    return tuple(encoded)
