"""OCRBench v2's metrics with values by hand, and no answer that breaks them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmark import Sample
from eval.scoring import FAULT, ocr_boxes, ocr_text, score_all
from eval.scoring.ocrbench import CATEGORIES, score
from zppo_core.rewards.grader import Grader

EXTRA = {"eval": "None", "bbox": None, "bbox_list": None, "content": None, "question": "Read."}


def scored(kind: str, answer: str, *golds: str, **extra) -> float:
    return score(answer, golds, {**EXTRA, "type": kind, **extra})


def test_there_are_eight_english_categories_and_five_chinese():
    english = {c for t, c in CATEGORIES.items() if t.endswith("en")}
    chinese = {c for t, c in CATEGORIES.items() if t.endswith("cn")}
    assert (len(english), len(chinese)) == (8, 5)


def test_a_short_answer_is_contained_and_a_long_one_is_alike():
    assert scored("cognition VQA en", "It says STOP here", "stop") == 1.0
    assert scored("text recognition en", "stop", "STOP", eval="case sensitive") == 0.0
    # five words: one of nine characters differs
    assert ocr_text.contained("a b c d x", ["a b c d e"]) == pytest.approx(1 - 1 / 9)
    # less than half alike
    assert ocr_text.contained("zzzzzzzzz", ["a b c d e"]) == 0.0
    assert scored("cognition VQA cn", "答案 是 三", "答案是三") == 1.0


def test_counting_exactly_and_by_distance():
    assert scored("text counting en", "there are 7", "7", eval="exact match") == 1.0
    # 1 - |8 - 10| / 10; less than one half is nothing, and so is twice as many
    for answer, value in (("8", 0.8), ("4", 0.0), ("20", 0.0), ("none", 0.0)):
        assert scored("text counting en", answer, "10", eval="regression") == pytest.approx(value)


def test_formulas_are_compared_without_white_space():
    assert scored("formula recognition en", r"\frac {a} {b}", r"\frac{a}{b}") == 1.0
    assert scored("formula recognition cn", r"x=\text{速度}", "x=速度") == 1.0
    assert scored("formula recognition en", r"\frac{b}{a}", r"\frac{a}{b}") == 0.0


def test_a_page_is_the_mean_of_four_measures():
    # four words in one chunk: METEOR 1 - 0.5 (1/4)^3, the others 1
    value = scored("full-page OCR en", "one two three four", "one two three four")
    assert value == pytest.approx((1 + (1 - 0.5 / 64) + 1 + 1) / 4)
    assert ocr_text.f_measure({"a", "b"}, {"b", "c"}) == 0.5


HTML = "<table><tr><td>uv</td><td>c</td></tr></table>"


def test_teds_counts_edits_against_the_nodes_below_the_table():
    assert scored("table parsing en", HTML, HTML, question="Give HTML") == 1.0
    # half of a cell's characters, of a row and two cells
    other = HTML.replace("uv", "ux")
    assert scored("table parsing en", other, HTML, question="html") == pytest.approx(1 - 0.5 / 3)
    # a span changes the cell: one whole edit
    span = HTML.replace("<td>c", '<td colspan="2">c')
    assert scored("table parsing en", span, HTML, question="html") == pytest.approx(1 - 1 / 3)
    assert scored("table parsing en", "no table", HTML, question="html") == 0.0
    markdown = "| a | b |\n|---|---|\n| 1 | 2 |"
    assert scored("table parsing en", f"```md\n{markdown}\n```", markdown) == 1.0


def test_charts_and_documents():
    gold = "{'a': 1, 'b': 2}"
    assert scored("chart parsing en", "```python\nchart = {'a': 1, 'b': 2}\n```", gold) == 1.0
    # one of six nodes: a cell whose one character differs
    assert scored("chart parsing en", "{'a': 1, 'b': 3}", gold) == pytest.approx(1 - 1 / 6)
    assert scored("chart parsing en", "__import__('os')", gold) == 0.0
    page = "# Head\nline one\n## Next\nline two"
    assert scored("document parsing en", page, page) == 1.0
    # of ROOT, TITLE, two headings and two lines one heading with its line is missing
    assert scored("document parsing en", "# Head\nline one", page) == pytest.approx(1 - 2 / 6)


def test_key_information_is_the_share_of_keys_of_either_side():
    gold = '{"total": ["12", "12.00"], "name": "Ann"}'
    kind = "key information extraction en"
    assert scored(kind, '{"total": "12.00", "name": "ann"}', gold) == 1.0
    assert scored(kind, '{"total": "12", "name": "Bob"}', gold) == 0.5
    assert scored(kind, '{"total": "12", "name": "Ann", "date": "1"}', gold) == pytest.approx(2 / 3)
    assert scored(kind, "nothing", gold) == 0.0


def test_boxes_overlap_by_area():
    assert ocr_boxes.overlap([0, 0, 10, 10], [5, 0, 15, 10]) == pytest.approx(1 / 3)
    grounding = scored("text grounding en", "It is at [5, 0, 15, 10].", "0", "0", "10", "10")
    assert grounding == pytest.approx(1 / 3)
    assert scored("text grounding en", "[5, 0, 2000, 10]", "0", "0", "10", "10") == 0.0
    answer = '{"answer": "stop", "bbox": [5, 0, 15, 10]}'
    both = scored("VQA with position en", answer, "stop", bbox=[0, 0, 10, 10])
    assert both == pytest.approx(0.5 + 0.5 / 3)


def test_spotting_is_f1_over_words_in_the_right_place():
    boxes = [[0, 0, 10, 0, 10, 10, 0, 10], [20, 0, 30, 10]]
    one = "[(0, 0, 10, 10, 'Stop')]"
    # precision 1, recall 1/2
    assert ocr_boxes.spotting(one, boxes, ["STOP", "go"]) == pytest.approx(2 / 3)
    # "###" need not be found
    assert ocr_boxes.spotting(one, boxes, ["STOP", "###"]) == 1.0
    assert ocr_boxes.spotting("[(50, 50, 60, 60, 'Stop')]", boxes, ["STOP", "go"]) == 0.0
    assert ocr_boxes.same_word("Stop!", "stop")


def row(kind: str, gold: str, *golds: str, sample_id: str = "s") -> Sample:
    return Sample(sample_id, "q", gold, golds=golds, extra={**EXTRA, "type": kind})


def test_rows_are_scored_in_workers_and_a_gold_answer_that_does_not_parse_is_named(capsys):
    scores = score_all(
        [
            (
                row("key information extraction en", "no dictionary", sample_id="kie/7"),
                "ocrbench",
                '{"total": "12"}',
            ),
            (row("text grounding en", "0", "0", "10", "10"), "ocrbench", "[5, 0, 15, 10]"),
            (row("cognition VQA en", "stop"), "ocrbench", None),
        ],
        Grader(),
    )
    assert [s.score for s in scores] == pytest.approx([0.0, 1 / 3, 0.0])
    why = f"{FAULT}ValueError: no dictionary in the gold answer 'no dictionary'"
    assert [s.outcome for s in scores] == [why, "partial", "unparsed"]
    assert capsys.readouterr().err == f"zppo: sample kie/7, rule ocrbench: {why}\n"


def test_an_answer_that_takes_too_long_is_a_timeout_of_its_own(monkeypatch):
    monkeypatch.setattr("eval.scoring.OCR_SECONDS", 2.0)
    cells = "<table>" + "".join(f"<tr><td>{i}</td><td>x</td></tr>" for i in range(2000))
    right = "".join(f"<tr><td>{i}</td></tr>" for i in range(2000))
    scores = score_all(
        [
            (row("table parsing cn", f"<table>{right}</table>"), "ocrbench", cells + "</table>"),
            (row("cognition VQA en", "stop"), "ocrbench", "stop"),
        ],
        Grader(),
    )
    assert [(s.score, s.outcome) for s in scores] == [(0.0, "timeout"), (1.0, "correct")]


def test_a_box_beyond_all_numbers_is_no_box():
    answer = '{"answer": "stop", "bbox": "[1e999, 0, 1, 1]"}'
    assert scored("VQA with position en", answer, "stop", bbox=[0, 0, 10, 10]) == 0.5


@pytest.mark.parametrize("there", [False, True])
def test_meteor_without_wordnet_is_named_once_with_how_to_get_it(monkeypatch, capsys, there):
    monkeypatch.setattr(ocr_text, "has_wordnet", lambda: there)
    page = (row("full-page OCR en", "one two three four"), "ocrbench", "one two three four")
    score_all([page, page, (row("cognition VQA en", "a"), "ocrbench", "a")], Grader())
    said = capsys.readouterr().err
    assert said.count("python -m nltk.downloader wordnet") == (0 if there else 1)
    score_all([(row("cognition VQA en", "a"), "ocrbench", "a")], Grader())
    assert capsys.readouterr().err == ""


GOLDS = {
    "text grounding": ("0", "0", "9", "9"),
    "text counting": ("3",),
    "chart parsing": ("{'a': 1}",),
    "key information extraction": ('{"a": "b"}',),
    "key information mapping": ('{"a": "b"}',),
    "table parsing": (HTML,),
}
BOXED = {"bbox": [0, 0, 9, 9], "bbox_list": [[0, 0, 9, 9]], "content": ["a"], "eval": "regression"}


def hostile(kind: str, answer: str) -> float:
    golds = GOLDS.get(kind.rpartition(" ")[0], ("gold words",))
    return scored(kind, answer, *golds, **BOXED, question="html 简答" if "cn" in kind else "Read.")


@pytest.mark.parametrize("kind", sorted(CATEGORIES))
@settings(max_examples=25, deadline=None)
@given(answer=st.text(alphabet="<table>/[]{}()'\":,|# \n0123ab一", max_size=60))
def test_any_answer_has_a_score(kind, answer):
    assert 0.0 <= hostile(kind, answer) <= 1.0


@pytest.mark.parametrize("kind", sorted(CATEGORIES))
@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, "{'a':" * 5_000, "<td>" * 300, "9" * 20_000],
    ids=("brackets", "dictionaries", "cells", "digits"),
)
def test_a_hostile_answer_takes_little_time(kind, text):
    start = time.perf_counter()
    hostile(kind, text)
    assert time.perf_counter() - start < 20.0  # a second on a quiet machine
