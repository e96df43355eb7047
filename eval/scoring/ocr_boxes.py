"""OCRBench v2's metrics of boxes: overlap, and end-to-end spotting (ICDAR, IoU 0.5).

All boxes are axis-parallel, so rectangles replace the official polygons.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

Box = Sequence[int]
Word = tuple[int, int, int, int, str]
_BOX = re.compile(r"[(\[]\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*[)\]]")
_ITEM = re.compile(r"[(\[]([^\[\]()]*)[)\]]")
LIMIT = 1000  # coordinates run from 0 to here
EDGE = "!?.:,*\"()·[]/'"  # may be missing from the ends of a word


def area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(one: Box, two: Box) -> int:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    return max(0, width) * max(0, height)


def overlap(one: Box | None, two: Box | None) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2); 0 if one is missing."""
    if one is None or two is None or len(one) != 4 or len(two) != 4:
        return 0.0
    common = intersection(one, two)
    union = area(one) + area(two) - common
    return common / union if union else 0.0


def last_box(text: str) -> list[int] | None:
    """The last four whole numbers in brackets that are coordinates."""
    boxes = [[int(c) for c in m.groups()] for m in _BOX.finditer(text)]
    valid = [box for box in boxes if max(box) <= LIMIT]
    return valid[-1] if valid else None


def words(text: str) -> list[Word]:
    """The distinct (x1, y1, x2, y2, text) of an answer, as a literal list or in any brackets."""
    try:
        listed = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        items = [m.group(1).split(",", 4) for m in _ITEM.finditer(text)]
        listed = [item for item in items if len(item) == 5]
    boxes: dict[Word, None] = {}
    for item in listed if isinstance(listed, (list, tuple)) else ():
        if not isinstance(item, (list, tuple)) or len(item) < 5:
            continue
        content = str(item[4]).replace("\n", "").strip().strip('"').strip("'")
        try:
            x1, y1, x2, y2 = (int(str(c).strip()) for c in item[:4])
        except ValueError:
            continue
        if min(x1, y1, x2, y2) >= 0 and max(x1, y1, x2, y2) <= LIMIT:
            boxes[x1, y1, x2, y2, content] = None
    return list(boxes)


def spotting(answer: str, boxes: Sequence[Box], contents: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words with the right place and the right text.

    `boxes` hold x and y in turn (of two or four corners). A gold word "###" need not be found.
    """
    given = [w for w in words(answer) if w[0] < w[2] and w[1] < w[3]]
    gold = [
        (min(b[0::2]), min(b[1::2]), max(b[0::2]), max(b[1::2]), c)
        for b, c in zip(boxes, contents, strict=True)
    ]
    if not given or not gold:
        return 0.0
    ignored = [g for g in gold if g[4] == "###"]
    readable = [g for g in gold if g[4] != "###"]
    given = [w for w in given if not any(intersection(i, w) > 0.5 * area(w) for i in ignored)]  # type: ignore[arg-type]
    if not readable or not given:
        return 0.0
    right, taken = 0, set()
    for g in readable:
        for i, w in enumerate(given):
            if i not in taken and overlap(g[:4], w[:4]) > 0.5:
                taken.add(i)
                right += same_word(g[4], w[4])
                break
    precision, recall = right / len(given), right / len(readable)
    return 2 * precision * recall / (precision + recall) if right else 0.0


def same_word(gold: str, given: str) -> bool:
    """Equal but for case and one special character at either end of the gold word."""
    gold, given = gold.upper(), given.upper()
    forms = {gold}
    if gold and gold[0] in EDGE:
        forms.add(gold[1:])
    if gold and gold[-1] in EDGE:
        forms |= {form[:-1] for form in forms if form}
    return given in forms
