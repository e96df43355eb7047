"""Answers with parts: matrices, intervals, statements, brackets and lists.

Each comparison takes cleaned texts and gives None if the gold answer is not of its kind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from zppo_core.rewards import plain, scalars, spans
from zppo_core.rewards.answers import Context
from zppo_core.rewards.families import read_congruence, residues_agree
from zppo_core.rewards.named import named_parts, named_value, shaped_value, solved
from zppo_core.rewards.parts import (
    LONGEST_SPREAD,
    PLUS_MINUS,
    assigned_of,
    by_name,
    falling,
    matched,
    of_two_things,
    one_of,
    other_names,
    point_of,
    pointed,
    sequence_of,
    set_of,
    spread_of,
    tuple_of,
    undecided,
    unnamed_of,
    value_of,
    values_of,
)
from zppo_core.rewards.quantities import read_quantity
from zppo_core.rewards.regions import Region, read_region
from zppo_core.rewards.shapes import (
    as_vector,
    bracketed,
    is_tuple,
    read_matrix,
    read_statement,
    split_list,
)
from zppo_core.rewards.words import names_agree

GLUE = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])")
_FUNCTION_OF_X = re.compile(r"[fgh]\(x\) y|y [fgh]\(x\)")
MOST_MATCHED = 40  # unlike parts of a list that are tried against each other


def matrix(answer: str, gold: str, context: Context) -> bool | None:
    right = read_matrix(gold)
    if right is None:
        return None
    answer = shaped_value(value_of(answer))
    left = read_matrix(answer) or as_vector(answer, right)
    if left is None or (left.kind == "vmatrix") != (right.kind == "vmatrix"):
        return False
    rows = left.rows
    if "vector" in (left.kind, right.kind) and len(rows) != len(right.rows):
        rows = tuple(zip(*rows, strict=True))
    if [len(r) for r in rows] != [len(r) for r in right.rows]:
        return False
    pairs = [
        (x, y) for a, b in zip(rows, right.rows, strict=True) for x, y in zip(a, b, strict=True)
    ]
    return _all_same(pairs, context)


def region(answer: str, gold: str, context: Context) -> bool | None:
    right = read_region(gold, gold != "R")
    if right is None or not right.pieces or (len(right.pieces) == 1 and is_tuple(gold)):
        return None
    left = read_region(answer, True) or read_region(shaped_value(answer), True)
    return left is not None and _regions_agree(left, right, context)


def _regions_agree(left: Region, right: Region, context: Context) -> bool:
    if left.name and right.name and left.name != right.name:
        return False

    def same(a: int, b: int) -> bool:
        x, y = left.pieces[a], right.pieces[b]
        if (x.low_in, x.high_in) != (y.low_in, y.high_in):
            return False
        return _all_same([(x.low, y.low), (x.high, y.high)], context)

    return matched(range(len(left.pieces)), range(len(right.pieces)), same)


def statement(answer: str, gold: str, context: Context) -> bool | None:
    if len(split_list(gold)) > 1:
        return None
    point = pointed(gold)
    if point is not None:
        pairs = pointed(answer)
        if pairs is not None or any(map(named_parts, split_list(answer))):
            return _assignments(answer, point, context)
        return r"\in" not in answer and bracket(answer, tuple_of(point), context)
    right = read_statement(gold)
    if right is None or not all(right.sides):
        return None
    given, asked = read_congruence(answer), read_congruence(gold)
    if given is not None and asked is not None and given[2] == asked[2]:
        same_rest = residues_agree(given[1], *asked[1:]) or _part(given[1], asked[1], context)
        return same_rest and _part(given[0], asked[0], context)
    if PLUS_MINUS.search(gold) and len(gold) <= LONGEST_SPREAD:
        return _of_either_sign(answer, gold, context)
    shape = set_of(shaped_value(gold))
    if shape != gold:
        return _of_shape(answer, gold, shape, context)
    left = read_statement(answer) if len(split_list(answer)) == 1 else None
    named = named_value(gold)
    function, asked_for = named_parts(answer), named_parts(gold)
    if function and asked_for and _FUNCTION_OF_X.fullmatch(f"{function[0]} {asked_for[0]}"):
        return _part(function[1], asked_for[1], context)  # f(x) for y, or y for f(x)
    if left is None or not all(left.sides):
        return named is not None and len(split_list(answer)) == 1 and _part(answer, named, context)
    mirrored = left.mirrored()
    for one in (left, *([mirrored] if mirrored else [])):
        if one.relations == right.relations and _all_same(
            list(zip(one.sides, right.sides, strict=True)), context
        ):
            return True
    if left.relations == right.relations == ("=",) and not solved(right):
        return context.call("proportional", left.sides, right.sides)
    return False


def _of_shape(answer: str, gold: str, shape: str, context: Context) -> bool:
    r"""`S = \\{1, 2\\}` and `x \\in \\{1, 2\\}` by what stands in brackets, under no other name."""
    value = set_of(shaped_value(answer))
    names = [text[: text.index(s)].rstrip(" =") for text, s in ((answer, value), (gold, shape))]
    if value != answer and names[0].replace(" ", "") != names[1].replace(" ", ""):
        return False
    if r"\in" in gold and other_names(answer, [names[1].removesuffix(r"\in") + "=0"]):
        return False
    return _part(value, shape, context)


def _of_either_sign(answer: str, gold: str, context: Context) -> bool:
    r"""`x = \\pm 3` by its values, or as the two statements that it stands for."""
    named = named_parts(gold)
    if named and not other_names(answer, [gold]) and listed(answer, named[1], context):
        return True
    return _set(spread_of(split_list(answer)), spread_of([gold]), context)


def bracket(answer: str, gold: str, context: Context) -> bool | None:
    right = bracketed(gold)
    if right is None or not right.parts or (len(right.parts) == 1 and right.brackets != "{}"):
        return None
    answer = shaped_value(answer)
    answer = point_of(answer) if right.brackets == "()" else set_of(answer)
    left = bracketed(answer)
    if right.brackets == "{}":
        if left is not None and left.brackets != "{}":
            return (
                left.brackets == "[]"
                and len(left.parts) > 2
                and _set(left.parts, right.parts, context)
            )
        parts = left.parts if left else values_of(answer)
        if parts is not None and undecided(answer, parts) and not undecided(gold, right.parts):
            return False
        return parts is not None and _set(spread_of(parts), spread_of(right.parts), context)
    if left is not None:
        if left.brackets == right.brackets or (
            len(right.parts) > 2 and {left.brackets, right.brackets} <= {"()", "[]", "<>"}
        ):
            return _in_order(left.parts, right.parts, context)
        if left.brackets == "<>" and right.brackets == "()":
            return _in_order(left.parts, right.parts, context)
    if right.brackets == "()" or len(right.parts) > 2:
        vector = read_matrix(answer)
        if (
            vector is not None
            and vector.kind != "vmatrix"
            and 1 in (len(vector.rows), len(vector.rows[0]))
        ):
            return _in_order([c for row in vector.rows for c in row], right.parts, context)
        if left is None and len(right.parts) > 1:
            parts = assigned_of(answer)
            if parts is not None and _in_order(parts, right.parts, context):
                return True
    if len(right.parts) == 2 and not falling(right.parts):
        spread, interval = read_region(answer, True), read_region(gold)
        if spread is not None and interval is not None:
            return _regions_agree(spread, interval, context)
    return False


def listed(answer: str, gold: str, context: Context) -> bool | None:
    parts = split_list(gold)
    if len(parts) < 2 and not PLUS_MINUS.search(gold):
        return None
    names = [named_parts(p) for p in parts]
    if all(names) and len({n[0] for n in names if n}) == len(parts) > 1:
        return _assignments(answer, [n for n in names if n], context)
    if of_two_things(parts) and not all(read_quantity(p) for p in split_list(answer)):
        return False  # "2 and 3" does not say of what
    answer = set_of(shaped_value(answer))
    if other_names(answer, parts):
        return False
    right = spread_of(unnamed_of(parts) or parts)
    left = bracketed(answer)
    if left is not None and left.brackets in ("()", "[]"):
        if len(left.parts) == 1:
            return listed(left.parts[0], gold, context)
        return _in_order(spread_of(left.parts), right, context)
    values = left.parts if left and left.brackets == "{}" else values_of(answer)
    if values is None:
        return _in_order(assigned_of(answer) or (), right, context)
    if undecided(answer, values) and not undecided(gold, parts):
        return False
    values = spread_of(values)
    if any("\\ldots" in p for p in (*values, *right)):
        return _in_order(values, right, context)
    return _set(values, right, context)


def forced_list(answer: str, gold: str, context: Context) -> bool | None:
    right = bracketed(gold)
    parts = right.parts if right and right.parts else split_list(gold)
    left = bracketed(answer)
    values = left.parts if left and left.parts else values_of(answer)
    if values is None or (undecided(answer, values) and not undecided(gold, parts)):
        return False
    return _set(spread_of(values), spread_of(parts), context)


def ordered(answer: str, gold: str, context: Context) -> bool | None:
    if one_of(answer) and not one_of(gold):
        return False
    left, right = sequence_of(answer, gold), sequence_of(gold, gold)
    if all(len(p) == 1 and p.isalpha() for p in (*left, *right)):  # letters of options
        return [p.upper() for p in left] == [p.upper() for p in right]
    return _in_order(left, right, context)


def _assignments(answer: str, right: list[tuple[str, str]], context: Context) -> bool:
    """`x = 1, y = 2`: by name; or the values in order of the names."""
    if one_of(answer):
        return False
    point = pointed(answer)
    left = [*point] if point else [named_parts(p) for p in split_list(answer)]
    if all(left):
        values = {n[0]: n[1] for n in left if n}
        if len(values) != len(left) or set(values) != {n for n, _ in right}:
            return False
        return _all_same([(values[name], value) for name, value in right], context)
    sequence = bracketed(answer)
    parts = sequence.parts if sequence and sequence.brackets == "()" else split_list(answer)
    return _in_order(parts, [value for _, value in sorted(right, key=by_name)], context)


def _all_same(pairs: Sequence[tuple[str, str]], context: Context) -> bool:
    return all(_part(left, right, context) for left, right in pairs)


def _part(left: str, right: str, context: Context) -> bool:
    """Whether two parts of an answer are equal; a part is no list and no choice."""
    if left == right or GLUE.sub("", left) == GLUE.sub("", right):
        return bool(left)
    if not left or not right:
        return False
    for compare in _PARTS:
        verdict = compare(left, right, context)
        if verdict is not None:
            return verdict
    return names_agree(left, right)


def _in_order(left: Sequence[str], right: Sequence[str], context: Context) -> bool:
    if not left or len(left) != len(right):
        return False
    return _all_same(list(zip(left, right, strict=True)), context)


def _set(left: Sequence[str], right: Sequence[str], context: Context) -> bool:
    """Whether two lists hold the same members, each as often."""
    if len(left) != len(right):
        return False
    common = Counter(left) & Counter(right)
    a = list((Counter(left) - common).elements())
    b = list((Counter(right) - common).elements())
    if len(a) > MOST_MATCHED:
        return False
    return matched(a, b, lambda x, y: _part(x, y, context))


SINGLE = (
    plain.boolean_agrees,
    plain.program_agrees,
    scalars.number,
    spans.base,
    plain.date_agrees,
    plain.time_agrees,
    plain.literal_agrees,
    spans.span,
    scalars.quantity,
    spans.ratio,
    matrix,
)
_PARTS = (*SINGLE, bracket, region, statement, scalars.expression)
