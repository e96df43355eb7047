"""From two texts to a verdict: reads both as the gold answer's kind and compares."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

from zppo_core.rewards import plain, scalars, spans
from zppo_core.rewards.answers import AnswerSpec, Context, NeedsAlgebraError, known_kind
from zppo_core.rewards.choices import (
    LETTERS,
    choice_agrees,
    letter_and_text,
    letter_of,
    letters_of,
    only_this,
    run_of_letters,
)
from zppo_core.rewards.clean import LONGEST, clean
from zppo_core.rewards.expressions import has_symbols, parse
from zppo_core.rewards.families import read_family, renamed
from zppo_core.rewards.members import (
    GLUE,
    SINGLE,
    bracket,
    forced_list,
    listed,
    matrix,
    ordered,
    region,
    statement,
)
from zppo_core.rewards.named import total_of
from zppo_core.rewards.numbers import unwrapped
from zppo_core.rewards.quantities import read_quantity
from zppo_core.rewards.repeats import said_first
from zppo_core.rewards.shapes import spaced
from zppo_core.rewards.told import behind_label, only_member, ways_of
from zppo_core.rewards.words import names_agree

_CHOICE = re.compile(r"\(?[A-Z]\)?\.?|\(?[a-h]\)?\.?")
_BRACKETS = re.compile(r"[([{]|[)\]}]")
DEEPEST = 50  # brackets in brackets; an answer with more is compared as text alone


def agree(answer: str, gold: str, spec: AnswerSpec, algebra: ModuleType | None = None) -> bool:
    """Whether `answer` is `gold` or another answer that `spec` accepts.

    NeedsAlgebraError where neither text nor exact arithmetic can tell and `algebra` is None.
    """
    context, open_ = Context(spec, algebra), False
    for right in (gold, *spec.accepted):
        try:
            if same_answer(answer, right, context):
                return True
        except NeedsAlgebraError:
            open_ = True
    if open_:
        raise NeedsAlgebraError(gold)
    return False


def same_answer(answer: str, gold: str, context: Context) -> bool:
    """Whether `answer` is `gold`, both as they were written."""
    if answer.strip() == gold.strip():
        return True
    if max(len(answer), len(gold)) > LONGEST or max(map(_depth, (answer, gold))) > DEEPEST:
        return answer.split() == gold.split()
    left, right = clean(answer), clean(gold)
    if not left or not right:
        return False
    if left == right or GLUE.sub("", left) == GLUE.sub("", right):
        return True
    if _same(left, right, context):
        return True
    wide = spaced(left), spaced(right)
    return wide != (left, right) and _same(*wide, context)


def _depth(text: str) -> int:
    """How deep brackets stand in brackets, closed or not: readers go down one by one."""
    deepest = depth = 0
    for match in _BRACKETS.finditer(text):
        depth = depth + 1 if match.group() in "([{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _same(answer: str, gold: str, context: Context) -> bool:
    spec = context.spec
    answer, gold = unwrapped(answer), unwrapped(gold)
    twice = said_first(answer, context)
    if twice is not None:
        return _same(twice[0], gold, context)
    twice = said_first(gold, context)
    if twice is not None and any(_same(answer, one, context) for one in twice):
        return True
    total = total_of(answer)
    if total is not None and _is_constant(gold) and _same(total, gold, context):
        return True
    right = read_family(gold)
    left = read_family(answer) if right else None
    if right and left and right.numbers == left.numbers:
        text = renamed(left, right.letter)
        if text is not None and _same(text, right.text, context):
            return True
    if spec.options:
        return _choice(answer, gold, context)
    kind = known_kind(spec.kind)
    verdict = _OF_KIND[kind](answer, gold, context) if kind else None
    if verdict is None:
        verdict = _auto(answer, gold, context)
    return verdict or _told(answer, gold, context)


def _told(answer: str, gold: str, context: Context) -> bool:
    """Whether words tell what the answer is, or it is said in several ways that are all right."""
    if not (" " in answer or "=" in answer or r"\{" in answer or answer.startswith("{")):
        return False
    value = behind_label(answer, gold)
    if value is None and "{" not in gold:
        value = only_member(answer)
    if value is not None and _same(value, gold, context):
        return True
    ways = ways_of(answer)
    return bool(ways) and all(_same(way, gold, context) for way in ways)


def _is_constant(gold: str) -> bool:
    """Whether a gold answer is one value: that of a sum of names, no equation of them."""
    tree = parse(gold)
    return read_quantity(gold) is not None or (tree is not None and not has_symbols(tree))


def _auto(answer: str, gold: str, context: Context) -> bool:
    """The comparison of the first kind that the gold answer can be."""
    for compare in _IN_TURN:
        verdict = compare(answer, gold, context)
        if verdict is not None:
            return verdict
    return names_agree(answer, gold)


# Each of these gives None if `gold` is not of its kind.


def _choice(answer: str, gold: str, context: Context) -> bool:
    options = [clean(option) for option in context.spec.options]
    alone = replace(context, spec=replace(context.spec, options=(), accepted=(), kind=""))

    def same(left: str, right: str) -> bool:
        return left == right or _auto(left, right, alone)

    if letter_of(gold) is None and letters_of(gold) is None and not run_of_letters(gold, options):
        index = next((i for i, o in enumerate(options) if o == gold), None)
        if index is None:
            return _auto(answer, gold, alone)
        if only_this(answer, options, index, same):
            return True
        return choice_agrees(answer, LETTERS[index], options, same)
    return choice_agrees(answer, gold, options, same)


def _letter(answer: str, gold: str, context: Context) -> bool | None:
    if _CHOICE.fullmatch(gold):
        if gold.islower() and letter_of(answer) is None and letter_and_text(answer) is None:
            return None  # x = a, and e^1 for e: it is no letter of an option
        return choice_agrees(answer, gold, (), lambda left, right: False)
    several = letters_of(gold)
    if several is None and re.fullmatch("[A-H]{2,8}", gold) and letters_of(answer):
        return list(gold) == sorted(set(gold)) == sorted(letters_of(answer) or ())
    if several is None:
        return None
    if list(several) != sorted(several):
        return ordered(answer, gold, context)  # choices of several come in alphabetical order
    return choice_agrees(answer, gold, (), lambda left, right: False)


def _forced_choice(answer: str, gold: str, context: Context) -> bool | None:
    if letter_of(gold) is None and letters_of(gold) is None:
        if not re.fullmatch("[A-Z]{2,8}", gold):
            return None
        gold = ", ".join(gold)
    return choice_agrees(answer, gold, (), lambda left, right: False)


_IN_TURN = (_letter, *SINGLE, region, statement, bracket, listed, scalars.expression)
_OF_KIND: dict[str, Callable[[str, str, Context], bool | None]] = {
    "choice": _forced_choice,
    "number": scalars.forced_number,
    "quantity": scalars.quantity,
    "range": spans.span,
    "time": plain.time_agrees,
    "date": plain.date_agrees,
    "ratio": spans.proportion,
    "base": spans.base,
    "ordered": ordered,
    "list": forced_list,
    "matrix": matrix,
    "statement": statement,
    "expression": scalars.expression,
    "name": plain.name_agrees,
    "boolean": plain.forced_boolean_agrees,
    "code": plain.code_agrees,
}
