"""A corpus of one's own: any table, by a mapping of its columns or in a layout of the field."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zppo_core.data.directives import answer_form, strip_directives, with_form
from zppo_core.data.files import is_place, read_file, table_files, undecoded
from zppo_core.data.kinds import options_for, typed_answer
from zppo_core.data.layouts import (
    COLUMNS,
    LAYOUTS,
    NAMES,
    ROLES,
    Asked,
    chat,
    guess,
    images_of,
    messages_of,
    parse_columns,
    parse_format,
)
from zppo_core.data.pixels import ANY_SIZE, Bounds, as_rgb, plain_bytes
from zppo_core.data.solutions import final_answer
from zppo_core.data.values import (
    UnusableError,
    answer_kind,
    answer_text,
    is_missing,
    text_list,
    text_of,
    texts_of,
    tolerance_of,
    truth_of,
)
from zppo_core.errors import UserError
from zppo_core.rewards.answers import known_kind
from zppo_core.types import Question

MOST_FAULTY = 0.05  # share of rows that may be left out before the corpus is refused
MAX_TEXT = 1_000_000  # characters of a question: more is no prompt, and is slow to tokenise
MAX_GOLD = 20_000  # characters of an answer
MARK = re.compile(r"[ \t]*<image>[ \t]*\n?", re.IGNORECASE)


@dataclass(frozen=True)
class Report:
    """What became of a table's rows."""

    kept: int
    dropped: Mapping[str, int]  # reason -> rows
    first: Mapping[str, str] = field(default_factory=dict)  # reason -> the first such row
    layout: str = COLUMNS
    notes: Mapping[str, int] = field(default_factory=dict)  # what else was done -> rows

    def text(self) -> str:
        """One line: rows kept, and dropped by reason."""
        reasons = ", ".join(f"{n} {why}" for why, n in sorted(self.dropped.items()))
        return f"{self.kept} questions" + (f"; left out: {reasons}" if reasons else "")

    def lines(self) -> list[str]:
        """How it was read, what else was done, and the first row of each reason."""
        done = [f"{n} {what}" for what, n in sorted(self.notes.items())]
        return [
            ", ".join([f"read as {self.layout}", *done]),
            *(f"left out {why}: first {where}" for why, where in sorted(self.first.items())),
        ]


@dataclass(frozen=True)
class Place:
    """Where a row stands, and how a file named in it is read."""

    label: str
    beside: Callable[[str], bytes]


def open_rows(source: str) -> Iterator[tuple[Place, Mapping[str, object]]]:
    """The rows of a file, a folder of files, an S3 prefix or a hub id, each with its place.

    UserError on what cannot be read, with its file and row.
    """
    if is_place(source):
        for file in table_files(source):
            for number, row in file.numbered():
                yield Place(f"{file.label}, row {number}", file.beside), row
        return
    from datasets import disable_progress_bars, load_dataset

    def beside(name: str) -> bytes:
        raise FileNotFoundError(f"no file {name[:200]!r} on the hub; give a folder with it")

    disable_progress_bars()
    number = 0
    try:
        stream = load_dataset(source, split="train", streaming=True)
        for number, row in enumerate(undecoded(stream, ()), 1):
            yield Place(f"{source}, row {number}", beside), row
    except Exception as error:  # `datasets` and the hub raise many kinds
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise UserError(
            f"{source}, row {number + 1}: {why}; give a hub id with a split train, a folder or a "
            "file"
        ) from error


def read_table(
    source: str,
    columns: Mapping[str, str],
    bounds: Bounds = ANY_SIZE,
    fault: Callable[[Question], str] = lambda _: "",
    layout: str = "",
) -> tuple[list[Question], Report]:
    """The questions of a table and what was left out; UserError if it cannot serve a run.

    A row needs a question and an answer; images may be files, bytes or lists of them, and are
    scaled into `bounds`. Ids must be distinct; without an id column they are row numbers. `fault`
    says of a question why it is to be left out, or nothing. `layout` is one of `layouts.NAMES`,
    guessed from the columns if empty.
    """
    mapping = parse_columns(columns)
    name = parse_format(layout)
    read: _Reader | None = None
    questions: list[Question] = []
    dropped: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    first: dict[str, str] = {}
    seen: set[str] = set()
    for number, (place, given) in enumerate(open_rows(source)):
        if read is None:
            name = name or (COLUMNS if columns else guess(given))
            read = _Reader(source, name, mapping, bounds, notes)
            read.check(given)
        row = read.whole(given)
        question_id = read.id_of(row, number)
        try:
            if question_id in seen:
                raise UnusableError("with an id seen before")
            question = read.question(question_id, row, place)
            why = fault(question)
            if why:
                raise UnusableError(why)
        except UnusableError as error:
            why = str(error)
            dropped[why] += 1
            first.setdefault(why, read.detail(place))
            continue
        seen.add(question_id)
        questions.append(question)
    if read is None:
        raise UserError(f"{source} holds no rows; give a table with questions and answers")
    read.check_seen()
    report = Report(len(questions), dict(dropped), first, name, dict(notes))
    if sum(dropped.values()) > MOST_FAULTY * (len(questions) + sum(dropped.values())):
        why, _ = dropped.most_common(1)[0]
        raise UserError(
            f"{source} is not fit to train on: {report.text()}; first {why}: {first[why]} "
            f"(read as {name})"
        )
    return questions, report


def check_table(source: str, columns: Mapping[str, str], layout: str = "") -> None:
    """UserError if `source` holds no row, or its first has not what the layout needs."""
    _, row = next(open_rows(source), (None, None))
    if row is None:
        raise UserError(f"{source} holds no rows; give a table with questions and answers")
    name = parse_format(layout) or (COLUMNS if columns else guess(row))
    _Reader(source, name, parse_columns(columns), ANY_SIZE, Counter()).check(row)


class _Reader:
    """Reads rows of one table in one layout; UserError if the table lacks what that needs."""

    def __init__(
        self,
        source: str,
        layout: str,
        mapping: Mapping[str, str],
        bounds: Bounds,
        notes: Counter[str],
    ) -> None:
        self.source, self.name, self.mapping = source, layout, mapping
        self.bounds, self.notes = bounds, notes
        self._detail = ""
        self._columns_of: dict[str, None] = {}  # that the layout wants, or the first row has
        self._unseen = set(mapping.values()) if layout == COLUMNS else set()

    def check(self, row: Mapping[str, object]) -> None:
        """UserError if the first row has not what the layout needs."""
        if self.name == COLUMNS:
            self._refuse([self.mapping[r] for r in ("question", "answer")], row)
        elif not self.name:
            raise UserError(
                f"{self.source} has columns {', '.join(row) or '(none)'}, the layout of which is "
                f"unknown; set data.columns=question=...,answer=..., or data.format to one of "
                f"{', '.join(NAMES)}"
            )
        elif missing_column := LAYOUTS[self.name].missing(row):
            raise UserError(
                f"{self.source} is not in the layout {self.name}: it has no column "
                f"{missing_column} but {', '.join(row)}; set another data.format, or data.columns"
            )
        self._columns_of = dict.fromkeys([*row, *self._unseen])

    def check_seen(self) -> None:
        """UserError if a column of the mapping stands in no row."""
        present = [c for c in self._columns_of if c not in self._unseen]
        self._refuse(sorted(self._unseen), present)

    def _refuse(self, required: Sequence[str], present: Collection[str]) -> None:
        missing = [c for c in required if c not in present]
        if missing:
            raise UserError(
                f"{self.source} has no column {missing[0]!r} but {', '.join(present)}; set "
                "data.columns"
            )

    def whole(self, row: Mapping[str, object]) -> Mapping[str, object]:
        """The row with None for what JSON leaves out."""
        self._unseen -= row.keys()
        return {**self._columns_of, **row}

    def id_of(self, row: Mapping[str, object], number: int) -> str:
        """The row's id, its number if no column holds ids."""
        self._detail = ""
        if "id" not in self.mapping:
            return f"row-{number:07d}"
        return _plain(row[self.mapping["id"]])

    def detail(self, place: Place) -> str:
        """The row's place with what was found there."""
        return place.label + (f": {self._detail}" if self._detail else "")

    def question(self, question_id: str, row: Mapping[str, object], place: Place) -> Question:
        """The row as a question; UnusableError says why it cannot be one."""
        asked = self._columns(row) if self.name == COLUMNS else LAYOUTS[self.name].read(row)
        text = text_of(asked.question)
        if len(text) > MAX_TEXT:
            raise UnusableError(f"with a question of more than {MAX_TEXT:,} characters")
        facts = asked.facts
        judged = truth_of(facts.get("judged"))
        typed = typed_answer(asked.answer, facts.get("reward_type"))
        if typed.fault:
            raise UnusableError(f"with a {typed.fault}")
        gold = typed.gold
        if not text or not gold:
            raise UnusableError("without question or answer")
        judged = judged or typed.judged
        if isinstance(asked.answer, str) and not judged:
            gold = final_answer(gold, asked.reply)
            if not gold:
                raise UnusableError("with a reply that marks no final answer")
        if len(gold) > MAX_GOLD:
            raise UnusableError(f"with an answer of more than {MAX_GOLD:,} characters")
        images = self._images(asked.images, place)
        text, form = self._text(text, len(images))
        kind = answer_text(facts.get("kind")) or typed.kind or answer_kind(asked.answer)
        try:
            known_kind(kind)
        except UserError as error:
            raise UserError(f"{place.label}: {error}") from None
        options = texts_of(facts.get("options")) or options_for(gold, kind, text)
        accepted = typed.accepted or texts_of(facts.get("accepted"))
        category = facts.get("category", asked.category)
        question = Question(
            question_id,
            with_form(text, form, gold),
            gold,
            images,
            "VLM" if images else "LLM",
            "" if is_missing(category) else _plain(category),
            judged,
            kind,
            options,
            tuple(a for a in accepted if a != gold),
            tolerance_of(facts.get("tolerance")),
        )
        if asked.system:
            self.notes["with a system message left aside"] += 1
        return question

    def _columns(self, row: Mapping[str, object]) -> Asked:
        """The row by the mapping; a cell of messages is read as a chat."""
        facts = {role: row[column] for role, column in self.mapping.items() if role in ROLES[4:]}
        images = row[self.mapping["image"]] if "image" in self.mapping else images_of(row)
        question, answer = (row[self.mapping[role]] for role in ("question", "answer"))
        if messages_of(question) is not None:
            return chat(question, answer, images, facts=facts)
        return Asked(question, answer, images, facts=facts)

    def _images(self, value: object, place: Place) -> tuple[bytes, ...]:
        try:
            given = encode_images(value, place.beside)
            return tuple(self.bounds.scaled(data, small=True) for data in given)
        except (OSError, ValueError, TypeError) as error:
            self._detail = " ".join(str(error).split())[:200]
            raise UnusableError("with an unreadable image") from error

    def _text(self, text: str, images: int) -> tuple[str, str]:
        """The text as it is asked, and the form of answer that a directive wanted."""
        marks = len(MARK.findall(text))
        if marks and marks != images:
            self._detail = f"{marks} marks, {images} pictures"
            raise UnusableError("with other <image> marks than pictures")
        if marks:
            text = MARK.sub(lambda m: "" if m.start() == 0 else "\n", text).strip()
        if not text:
            raise UnusableError("without question or answer")
        if self.name == COLUMNS:  # a text of one's own is as it is meant
            return text, ""
        stripped = strip_directives(text)
        if stripped == text:
            return text, ""
        self.notes["with a directive on the form of the answer taken out"] += 1
        return stripped, answer_form(text)


def _plain(value: object) -> str:
    """A cell as a name, whatever it holds."""
    return str(value).encode(errors="replace").decode()


def encode_images(
    value: object, beside: Callable[[str], bytes] = lambda name: read_file(Path(name))
) -> tuple[bytes, ...]:
    """PNG or JPEG bytes of one image or a list: PIL images, bytes, {"bytes": ...} or paths.

    `beside` reads what a path names. Raises OSError, ValueError or TypeError if one cannot be read.
    """
    from PIL import Image

    if is_missing(value):
        return ()
    if isinstance(value, str) and value.startswith("["):
        value = text_list(value) or value
    encoded = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            item = next((item[k] for k in ("bytes", "path", "image", "url") if item.get(k)), None)
        if isinstance(item, str):
            item = _from_text(item, beside)
        if isinstance(item, Image.Image):
            buffer = io.BytesIO()
            as_rgb(item).save(buffer, "PNG")
            item = buffer.getvalue()
        if not isinstance(item, bytes):
            raise TypeError(f"{type(item).__name__} is no image")
        encoded.append(plain_bytes(item))
    return tuple(encoded)


def _from_text(text: str, beside: Callable[[str], bytes]) -> bytes:
    """The bytes of a data URI, or of the file that a path names; nothing is fetched."""
    if text.startswith("data:"):
        try:
            return base64.b64decode(text.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError(f"a data URI that is no base64: {error}") from error
    if text.startswith(("http://", "https://")):
        raise OSError(f"{text[:200]} is an address; pictures are read from files")
    return beside(text.removeprefix("file://"))
