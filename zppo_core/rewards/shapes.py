r"""The shapes that answers are put into: lists, brackets, intervals, matrices, statements.

Everything here cuts a cleaned text into parts at its top level; what the parts mean is not asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from zppo_core.rewards.expressions import parse
from zppo_core.rewards.tables import spellings, words

_OPEN, _CLOSE = "([{", ")]}"
_JOINT = re.compile(
    r"\s+(?:and|or|und|et)\s+|\s*[和或与及]\s*|\s*&\s+(?=\w)|\s*\\lor(?![A-Za-z])\s*(?=[^=]*=)",
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
MOST_PARTS = 400


@lru_cache(maxsize=1 << 12)
def split_list(text: str) -> tuple[str, ...]:
    """The parts of `text` between commas, semicolons, "and" and "or" at its top level.

    A comma inside a number of thousands is none.
    """
    cuts: list[tuple[int, int]] = []
    depth, place, size = 0, 0, len(text)
    thousands = {
        i for m in _THOUSANDS.finditer(text) for i in range(m.start(), m.end()) if text[i] == ","
    }
    while place < size:
        c = text[place]
        if c == "\\" and text[place + 1 : place + 2] in ("{", "}"):
            depth += 1 if text[place + 1] == "{" else -1
            place += 2
            continue
        if c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif depth == 0:
            if c == ";" or (c == "," and place not in thousands):
                cuts.append((place, place + 1))
            elif c in " \\和或与及&":
                joint = _JOINT.match(text, place)
                if joint:
                    cuts.append(joint.span())
                    place = joint.end()
                    continue
        place += 1
    if not cuts or len(cuts) > MOST_PARTS:
        return (text,)
    parts, start = [], 0
    for begin, end in cuts:
        parts.append(text[start:begin].strip())
        start = end
    parts.append(text[start:].strip())
    # "a, b, and c" cuts twice at one place
    return tuple(p for p in parts if p) or (text,)


def spaced(text: str) -> str:
    """`text` with each comma between figures in brackets as one between parts: `(100, 200)`.

    The second reading of what is typed without spaces; `(1,234)` is a number by the first.
    """
    if "," not in text:
        return text
    pieces: list[str] = []
    depth = start = 0
    thousands = [m.span() for m in _THOUSANDS.finditer(text)]
    for begin, end in thousands:
        between = text[start:begin]
        depth += sum(map(between.count, (*_OPEN, r"\langle")))
        depth -= sum(map(between.count, (*_CLOSE, r"\rangle")))
        figures = text[begin:end]
        pieces += [between, figures.replace(",", ", ") if depth > 0 else figures]
        start = end
    return "".join([*pieces, text[start:]])


@dataclass(frozen=True)
class Bracketed:
    r"""A text in brackets: "()", "[)", "{}", "<>", and its parts."""

    brackets: str
    parts: tuple[str, ...]


_BRACKETS = (
    ("\\{", "\\}", "{}"),
    ("\\langle", "\\rangle", "<>"),
    *((name[0], name[1], name) for name in ("()", "[]", "(]", "[)")),
    ("]", "[", "()"),
    ("]", "]", "(]"),
    ("[", "[", "[)"),
    *((name[0], name[1], name) for name in ("{}", "<>")),
)


@lru_cache(maxsize=1 << 12)
def bracketed(text: str) -> Bracketed | None:
    """`text` as one pair of brackets around parts; None if it is not that."""
    for left, right, name in _BRACKETS:
        if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
            inner = text[len(left) : len(text) - len(right)].strip()
            if name in ("<>",) and left == "<" and not re.fullmatch(r"[^<>=]+", inner):
                continue
            if _balanced(inner):
                parts = split_list(inner) if inner else ()
                return Bracketed(name, parts)
    return None


def _balanced(text: str) -> bool:
    depth = 0
    for c in text:
        if c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


_MATRIX = re.compile(
    r"(?:[\[(]\s*)?\\begin\s*\{\s*(?P<name>[pbBvV]?matrix|smallmatrix|array)\s*\}"
    r"(?:\s*\{[lcr| ]*\})?"
    r"(?P<body>.*)\\end\s*\{\s*(?P=name)\s*\}(?:\s*[\])])?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Matrix:
    """Rows of cells; `kind` is "vmatrix" for a determinant, "column" and "row" for vectors."""

    rows: tuple[tuple[str, ...], ...]
    kind: str = "matrix"


_FACTOR = re.compile(
    r"([^&]*?[^&\s\\[(])\s*(?:\\cdot|\\times|\*)?\s*([\[(]?\s*\\begin\s*\{.*|\[\s*\[.*\])",
    re.DOTALL,
)


def _factored(text: str) -> Matrix | None:
    """A matrix with a factor before it, multiplied into its cells; a determinant is none."""
    match = _FACTOR.fullmatch(text)
    matrix = read_matrix(match.group(2)) if match else None
    if match is None or matrix is None or matrix.kind != "matrix":
        return None
    factor = "-1" if match.group(1) == "-" else match.group(1)
    if parse(factor) is None:
        return None
    rows = tuple(tuple(f"({factor})*({cell})" for cell in row) for row in matrix.rows)
    return Matrix(rows)


_TRANSPOSED = re.compile(
    r"(.+[)\]}])\s*\^\s*(?:\{\s*(?:T|\\top|\\intercal)\s*\}|T|\\top)", re.DOTALL
)
_PROGRAM = re.compile(r"\[([^\[\](){}]+;[^\[\](){}]+)\]")  # [1 2; 3 4], as Matlab has it


def _row(text: str) -> Matrix | None:
    """`(1, 2)` or `[1, 2]` as the one row of a matrix."""
    sequence = bracketed(text)
    if sequence is None or sequence.brackets not in ("()", "[]") or len(sequence.parts) < 2:
        return None
    return Matrix((sequence.parts,))


def _of_program(text: str) -> Matrix | None:
    match = _PROGRAM.fullmatch(text)
    if match is None:
        return None
    rows = [tuple(re.split(r"\s*,\s*|\s+", row.strip())) for row in match.group(1).split(";")]
    whole = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return Matrix(tuple(rows)) if whole else None


@lru_cache(maxsize=1 << 12)
def read_matrix(text: str) -> Matrix | None:
    """The matrix or vector that a cleaned `text` is: LaTeX, `[[1, 2], [3, 4]]` or `<1, 2>`."""
    turned = _TRANSPOSED.fullmatch(text)
    if turned:
        matrix = read_matrix(turned.group(1)) or _row(turned.group(1))
        return None if matrix is None else Matrix(tuple(zip(*matrix.rows, strict=True)))
    match = _MATRIX.fullmatch(text)
    if match:
        if r"\begin" in match["body"]:
            return None
        rows = [r.strip() for r in match["body"].replace(r"\hline", "").split(r"\\")]
        cells = tuple(tuple(c.strip() for c in row.split("&")) for row in rows if row)
        if not cells or len({len(row) for row in cells}) != 1:
            return None
        kind = "vmatrix" if match["name"] in ("vmatrix", "Vmatrix") else "matrix"
        return Matrix(cells, kind)
    outer = bracketed(text)
    if outer is None or not outer.parts:
        return _factored(text)
    program = _of_program(text)
    if program is not None:
        return program
    if outer.brackets == "<>":
        return Matrix(tuple((p,) for p in outer.parts), "vector")
    inner = [bracketed(part) for part in outer.parts]
    if outer.brackets not in ("[]", "()") or any(
        b is None or b.brackets not in ("[]", outer.brackets) for b in inner
    ):
        return None
    if len(inner) < 2:
        return None
    cells = tuple(b.parts for b in inner if b is not None)
    return Matrix(cells) if len({len(row) for row in cells}) == 1 else None


def as_vector(answer: str, gold: Matrix) -> Matrix | None:
    """`(1, 2)` for a column or a row."""
    sequence = bracketed(answer)
    if sequence is None or sequence.brackets not in ("()", "[]") or gold.kind == "vmatrix":
        return None
    if len(gold.rows) != 1 and len(gold.rows[0]) != 1:
        return None
    return Matrix(tuple((p,) for p in sequence.parts), "vector")


def is_tuple(text: str) -> bool:
    """Whether `text` stands in round brackets."""
    sequence = bracketed(text)
    return sequence is not None and sequence.brackets == "()"


_COMMANDS = sorted(words("relations"), key=len, reverse=True)
_RELATION = re.compile(
    "(=|<|>|" + "|".join(rf"{re.escape(r)}(?![A-Za-z])" for r in _COMMANDS) + ")"
)
MIRRORED = spellings("mirrored")


@dataclass(frozen=True)
class Statement:
    """Sides with relations between them: `a < b <= c` has three sides and two relations."""

    sides: tuple[str, ...]
    relations: tuple[str, ...]

    def mirrored(self) -> Statement | None:
        """The same statement read from the right; None where a relation has no mirror image."""
        relations = []
        for r in reversed(self.relations):
            mirror = MIRRORED.get(r)
            if mirror is None:
                return None
            relations.append(mirror)
        return Statement(self.sides[::-1], tuple(relations))


@lru_cache(maxsize=1 << 12)
def read_statement(text: str) -> Statement | None:
    """The statement that a cleaned `text` makes at its top level; None if it makes none."""
    if text.startswith("<") and text.endswith(">") and text.count("<") == 1 and "," in text:
        return None
    parts, depth, start, place = [], 0, 0, 0
    relations = []
    while place < len(text):
        c = text[place]
        if c in _OPEN or (c == "\\" and text[place + 1 : place + 2] == "{"):
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        if c == "\\" and text[place + 1 : place + 2] in ("{", "}"):
            depth -= text[place + 1] == "}"
            place += 2
            continue
        if depth == 0 and c in "=<>\\":
            match = _RELATION.match(text, place)
            if match:
                parts.append(text[start:place].strip())
                relations.append(match.group())
                start = place = match.end()
                continue
        place += 1
    if not relations or len(relations) > 30:
        return None
    parts.append(text[start:].strip())
    return Statement(tuple(parts), tuple(relations))
