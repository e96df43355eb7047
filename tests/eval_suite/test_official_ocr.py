"""OCRBench v2's 30 types of rows against lmms-eval's port of the official scorer."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import sys
import types

import pytest

from eval.scoring import ocr_text
from eval.scoring.ocrbench import CATEGORIES, score

# nltk warns of pages that have no run of words in common
pytestmark = pytest.mark.filterwarnings("ignore:\\s*The hypothesis contains 0 counts")

TABLE = "<table><tr><td>uv</td><td>c</td></tr><tr><td>1</td><td>22</td></tr></table>"
MARKDOWN = "| a | b |\n|---|---|\n| 1 | 22 |\n| 3 | x |"
PAGE = "# Head\nline one of text\n## Next\nline two\n| a | b |\n|---|---|\n| 1 | 2 |"
CHINESE = "今天天气很好，我们去公园散步。"
ENGLISH = "the quick brown fox jumps over the lazy dog and then it rests"
BOXES = [[10, 10, 60, 10, 60, 40, 10, 40], [100, 100, 180, 100, 180, 130, 100, 130]]
SPOTS = "[(10, 10, 60, 40, 'stop'), (100, 100, 180, 130, 'main st')]"
VALUES = "{'total': ['12.50', '12.5'], 'date': ['May 1'], 'shop': ['Bluebird']}"

# what a row of each type holds: gold answers, answers to start from, and what else it has
ROWS: dict[str, tuple[list[object], list[str], dict[str, object]]] = {
    "text recognition": (["Stop Here"], ["It says stop here", "Stop Here", "stop"], {}),
    "fine-grained text recognition": ([ENGLISH], [ENGLISH], {}),
    "full-page OCR en": ([ENGLISH], [ENGLISH], {}),
    "full-page OCR cn": ([CHINESE], [CHINESE], {}),
    "text grounding": (["10", "20", "110", "220"], ["(10, 20, 110, 220)", "[12,25,90,200]"], {}),
    "VQA with position": (
        ["Stop"],
        ["{'answer': 'stop', 'bbox': [10, 20, 110, 220]}", "{'answer': 'go', 'bbox': [0,0,50,90]}"],
        {"bbox": [10, 20, 110, 220]},
    ),
    "text spotting": (
        [""],
        [SPOTS, "(10,10,60,40,stop)", f"{SPOTS[:-1]}, (310,310,390,340,'x')]"],
        {
            "bbox": BOXES,
            "bbox_list": [*BOXES, [300, 300, 400, 350]],
            "content": ["stop", "main st!", "###"],
        },
    ),
    "key information extraction en": (
        [{"total": ["12.50", "12.5"], "date": ["May 1"]}],
        ["{'total': '12.50', 'date': 'May 1'}", '```json\n{"total": "12.5"}\n```'],
        {},
    ),
    "key information mapping": (
        [{"name": ["Ann"], "age": ["7"]}],
        ["{'name': 'Ann', 'age': '7'}"],
        {},
    ),
    "key information extraction cn": ([VALUES], [VALUES.replace("'12.50', ", "")], {}),
    "handwritten answer extraction": (["AC"], ["AC", "A、C", "A和C", "B"], {"question": "选择"}),
    "document parsing": ([PAGE], [PAGE, PAGE + "\n# Head\nmore\n#\nlast *one*"], {}),
    "chart parsing": (
        ["{'a': 1, 'b': 2}"],
        ["{'a': 1, 'b': 2}", "```python\nx = {'a': 1, 'b': 3}\n```"],
        {},
    ),
    "table parsing en": (
        [MARKDOWN],
        [MARKDOWN, f"```md\n{MARKDOWN}\n```"],
        {"question": "as markdown"},
    ),
    "table parsing cn": ([TABLE], [TABLE, f"Here: {TABLE}"], {}),
    "formula recognition": ([r"\frac{a}{b}+x^2"], [r"\frac {a} {b}+x^2", r"$\frac{a}{b}+x^2$"], {}),
    "text counting": (["10"], ["10", "there are 8", "4", "20", "none"], {"eval": "regression"}),
    "cognition VQA cn": (["红色"], ["答案是红色", "红 色", "蓝色"], {}),
    "reasoning VQA cn": (["三"], ["三", "答案 是 三"], {}),
    "text translation": (["我们去公园散步"], ["我们去公园散步", "今天去公园"], {}),
}
ALPHABET = "abcx 123,.'[]{}()<td>|#\n一二"


def row_of(kind: str) -> tuple[list[object], list[str], dict[str, object]]:
    """The row of a type, by its full name or without its language; else a plain question's."""
    return ROWS.get(kind) or ROWS.get(kind.rpartition(" ")[0]) or (["Stop"], ["stop", "It is"], {})


def mutated(rng: random.Random, text: str, most: int) -> str:
    """`text` with up to `most` characters deleted, inserted or replaced."""
    letters = list(text)
    for _ in range(rng.randint(0, most)):
        at = rng.randrange(len(letters) + 1)
        kept = rng.choice((0, 1))
        letters[at : at + 1 - kept] = [rng.choice(ALPHABET)] if rng.random() < 0.6 else []
    return "".join(letters)


class Rectangle:
    """What the official script needs of the C package Polygon, for upright rectangles."""

    def __init__(self, corners):
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        self.box = (min(xs), min(ys), max(xs), max(ys))

    def __and__(self, other):
        (a, b, c, d), (e, f, g, h) = self.box, other.box
        left, top, right, bottom = max(a, e), max(b, f), min(c, g), min(d, h)
        if left >= right or top >= bottom:
            return []
        return Rectangle([(left, top), (right, bottom)])

    def __len__(self):
        return 1

    def area(self):
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))


@pytest.fixture
def official(lmms, monkeypatch):
    """lmms-eval's scores, without the data of WordNet and the package Polygon."""
    monkeypatch.setitem(sys.modules, "Polygon", types.SimpleNamespace(Polygon=Rectangle))
    pages = lmms("tasks.ocrbench_v2.page_ocr_metric")
    meteor = functools.partial(pages.meteor_score.meteor_score, wordnet=ocr_text.synonyms())
    monkeypatch.setattr(pages, "meteor_score", types.SimpleNamespace(meteor_score=meteor))
    return lmms("tasks.ocrbench_v2.utils").ocrbench_v2_process_results


@pytest.mark.parametrize("kind", sorted(CATEGORIES))
def test_ocrbench_scores_are_lmms_evals(official, kind):
    golds, starts, extra = row_of(kind)
    rng = random.Random(kind)
    seen = set()
    for turn in range(120):
        answer = mutated(rng, rng.choice(starts), 0 if turn < 12 else 6)
        row = {
            "question": "Read.",
            "eval": "None",
            "bbox": None,
            "bbox_list": None,
            "content": None,
            "type": kind,
            "answers": golds,
            "id": 0,
            "dataset_name": "x",
            "metadata": None,
            **extra,
        }
        with contextlib.redirect_stdout(io.StringIO()):
            result = official(row, [answer])
        expected = next(iter(result.values()))["score"]
        texts = [g if isinstance(g, str) else json.dumps(g) for g in golds]
        ours = score(answer, texts, row)
        assert ours == pytest.approx(expected, abs=1e-6), answer
        seen.add(round(ours, 6))
    assert len(seen) > 1  # the answers are not all right nor all wrong
