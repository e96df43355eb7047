r"""The outcome reward: the last \boxed{...} against the gold answer (section 6).

Cheap, exact comparisons decide almost every pair; only what is left goes to computer algebra, in
processes that are killed when they take too long (`workers.py`). Nothing a model wrote is evaluated
outside of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from zppo_core.types import Grade
from zppo_core.workers import Outcome, WorkerPool

TIMEOUT = 5.0  # seconds for one comparison by computer algebra
MAX_SYMBOLIC = 1000  # characters; a longer answer is compared as text alone
MAX_DIGITS = 60  # of an exact number
ALGEBRA = "zppo_core.grading:symbolic_equal"

_BRACES = re.compile(r"\\[{}\\]|[{}]")
_BOX = re.compile(r"\\boxed\s*(?=\{)")


def extract_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{...} whose braces balance, stripped; None if there is none.

    A box left open, as by a cut response, is passed over for the one before. Linear in the text.
    """
    boxes = [m.end() for m in _BOX.finditer(text)]
    if not boxes:
        return None
    closing: dict[int, int] = {}
    open_: list[int] = []
    for match in _BRACES.finditer(text):
        brace = match.group()
        if brace == "{":
            open_.append(match.start())
        elif brace == "}" and open_:
            closing[open_.pop()] = match.start()
    for start in reversed(boxes):
        if start in closing:
            return text[start + 1 : closing[start]].strip()
    return None


_NOISE = re.compile(r"\\(?:left|right|displaystyle)(?![a-zA-Z])|\\[!,;: ]|\$|~")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]frac")
_SPACE = re.compile(r"\s+")


def normalise(answer: str) -> str:
    """`answer` without mark-up that carries no meaning: spacing, sizes, text, full stop."""
    answer = _FRACTION.sub(r"\\frac", _NOISE.sub("", answer))
    before = None
    while before != answer:
        before, answer = answer, _TEXT.sub(r"\1", answer)
    answer = _SPACE.sub(" ", answer).strip()
    return answer[:-1].strip() if answer.endswith(".") else answer


_DECIMAL = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−]?)\s*(?:\\frac\{{\s*(?P<top>{_DECIMAL})\s*\}}\{{\s*(?P<bottom>{_DECIMAL})\s*\}}"
    rf"|(?P<numerator>{_DECIMAL})\s*/\s*(?P<denominator>{_DECIMAL})"
    rf"|(?P<value>{_DECIMAL})(?:\s*(?:[eE]|(?:\\times|\\cdot|×)\s*10\s*\^)"
    rf"(?:\{{\s*(?P<power>[-+]?[0-9]{{1,3}})\s*\}}|(?P<bare>[-+]?[0-9]{{1,3}})))?)"
    r"\s*(?P<percent>\\?%)?"
)


def exact_number(answer: str) -> Fraction | None:
    """The rational number that a normalised `answer` spells out; None if it is something else.

    Reads integers with or without thousands separators, decimals, fractions, powers of ten and
    percentages, of at most 60 digits.
    """
    if len(answer) > 2 * MAX_DIGITS:
        return None
    match = _NUMBER.fullmatch(answer)
    if match is None or sum(c.isdigit() for c in answer) > MAX_DIGITS:
        return None
    part = {k: v.replace(",", "") for k, v in match.groupdict().items() if v is not None}
    top = part.get("top") or part.get("numerator") or part.get("value") or "0"
    bottom = Fraction(part.get("bottom") or part.get("denominator") or "1")
    if bottom == 0:
        return None
    number = Fraction(top) / bottom
    number *= Fraction(10) ** int(part.get("power") or part.get("bare") or 0)
    if "percent" in part:
        number /= 100
    return -number if part["sign"] in ("-", "−") else number


_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '-][^\W\d_]+)*|[^\W\d_]")
_WRAPPED = re.compile(rf"(?:\(({_WORDS.pattern})\)|\{{({_WORDS.pattern})\}})")
_OPERATOR = re.compile(r"[\\^_+*/=]")


def compare(answer: str, gold: str) -> bool | None:
    """Whether two answers are equal as far as exact means tell; None leaves it to algebra.

    Numbers are equal as rationals; if one of them was rounded, up to 1 part in 2 million.
    """
    if answer.strip() == gold.strip():
        return True
    left, right = normalise(answer), normalise(gold)
    if left == right:
        return True
    x, y = exact_number(left), exact_number(right)
    if x is not None and y is not None:
        if x == y:
            return True
        if x.denominator == 1 and y.denominator == 1:
            return False
        return abs(x - y) * 2_000_000 <= max(abs(x), abs(y))
    # words are no products of variables: algebra would find "cab" equal to "abc"
    left, right = _unwrapped(left), _unwrapped(right)
    words = [_WORDS.fullmatch(side) is not None for side in (left, right)]
    if all(words):
        return left == right or (left.casefold() == right.casefold() and len(left) > 1)
    # beside an operator or a command a word is a product all the same: xy and x \cdot y
    if any(words) and not _OPERATOR.search(right if words[0] else left):
        return False
    if not left or not right or max(len(left), len(right)) > MAX_SYMBOLIC:
        return False
    return None


def _unwrapped(answer: str) -> str:
    """`B` for `(B)` and `{B}`."""
    match = _WRAPPED.fullmatch(answer)
    return answer if match is None else match.group(1) or match.group(2)


_UNITS = re.compile(r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:circ|degree|deg)(?![a-zA-Z])|°|\\?%")


def without_units(answer: str) -> str:
    """`answer` with degree and percent signs removed (section 6, the second comparison)."""
    return _UNITS.sub("", answer).strip()


def symbolic_equal(answer: str, gold: str) -> bool:
    """Equality by computer algebra. It may run for ever: only workers call it."""
    import logging

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)  # it reports each disabled time limit; the worker has one
    parsed_gold = parse(f"${gold}$", parsing_timeout=None)
    parsed = parse(f"${answer}$", parsing_timeout=None)
    return bool(verify(parsed_gold, parsed, timeout_seconds=None))


class Grader:
    """Grades batches of responses; starts its workers only when algebra is needed.

    `timeout` is in seconds and holds for each comparison.
    """

    def __init__(self, workers: int = 2, timeout: float = TIMEOUT) -> None:
        # a first comparison imports the algebra, so that no answer pays for that with its time
        self._pool = WorkerPool(ALGEBRA, workers, timeout, prepare=(ALGEBRA, "x+1", "1+x"))
        self.symbolic_comparisons = 0

    def grade_many(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """A grade for each (response, gold), in order (section 6)."""
        answers = [extract_boxed(response) for response, _ in pairs]
        known: dict[tuple[str, str], bool | str] = {}
        for answer, (_, gold) in zip(answers, pairs, strict=True):
            if answer is not None:
                for pair in attempts(answer, gold):
                    verdict = compare(*pair)
                    known[pair] = "open" if verdict is None else verdict
        # a pair whose other attempt is right already needs no algebra
        needed: dict[tuple[str, str], None] = {}
        for answer, (_, gold) in zip(answers, pairs, strict=True):
            if answer is None or any(known[p] is True for p in attempts(answer, gold)):
                continue
            needed |= dict.fromkeys(p for p in attempts(answer, gold) if known[p] == "open")
        self.symbolic_comparisons += len(needed)
        outcomes = self._pool.map(list(needed))
        known |= {p: _verdict(o) for p, o in zip(needed, outcomes, strict=True)}
        return [
            _grade(None if answer is None else [known[p] for p in attempts(answer, gold)], answer)
            for answer, (_, gold) in zip(answers, pairs, strict=True)
        ]

    def close(self) -> None:
        """End the worker processes; they also end with the grader itself."""
        self._pool.close()


def attempts(answer: str, gold: str) -> list[tuple[str, str]]:
    """The pairs that section 6 compares in turn: as they are, then without degree and percent."""
    return list(dict.fromkeys([(answer, gold), (without_units(answer), without_units(gold))]))


def _verdict(outcome: Outcome) -> bool | str:
    if outcome.fault == "timeout" or outcome.fault.startswith("the worker died"):
        return "timeout"
    return bool(outcome.value)  # an answer that algebra cannot parse is wrong


def _grade(verdicts: list[bool | str] | None, answer: str | None) -> Grade:
    if verdicts is None:
        return Grade(0.0, "no_box")
    if any(v is True for v in verdicts):
        return Grade(1.0, "correct", answer)
    if "timeout" in verdicts:
        return Grade(0.0, "timeout", answer)
    return Grade(0.0, "wrong", answer)


@lru_cache(maxsize=1)
def _grader() -> Grader:
    return Grader(workers=1)


def grade(
    response: str,
    gold: str,
    kind: str = "",
    options: Sequence[str] = (),
    accepted: Sequence[str] = (),
    tolerance: float | None = None,
) -> Grade:
    """The grade of one response (section 6); batches go faster through `Grader`.

    The further arguments are the fields of `AnswerSpec`; they are not used yet.
    """
    return _grader().grade_many([(response, gold)])[0]
