"""Directives go by what they do; what decides the answer stays; the form is said again."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources77k import corpus_rows, mmfine, places, tokens, vero

from zppo_core.data.corpus import TableCorpus
from zppo_core.data.directives import FORMS, answer_form, strip_directives, with_form
from zppo_core.data.zppo77k.build import build
from zppo_core.data.zppo77k.sources import Recipe
from zppo_core.prompts import OURS

FOLDER = Path(__file__).parent / "directives"
GO, STAY = ((FOLDER / name).read_text().splitlines() for name in ("go.txt", "stay.txt"))
ASKED = ("What is shown?", "In the figure, AB = 3 and angle C is 40°. Find BC.", "Count the cats.")


@pytest.mark.parametrize("sentence", GO)
def test_a_sentence_that_only_says_how_to_answer_goes(sentence: str) -> None:
    for asked in ASKED:
        for text in (f"{asked} {sentence}", f"{asked}\n{sentence}", f"{sentence}\n{asked}"):
            assert strip_directives(text) == asked


@pytest.mark.parametrize("sentence", STAY)
def test_a_sentence_that_decides_the_answer_stays(sentence: str) -> None:
    for text in (f"What is shown? {sentence}", f"{sentence}\nWhat is shown?"):
        assert strip_directives(text) == text


@given(
    st.lists(st.sampled_from(STAY), min_size=1, max_size=3),
    st.lists(st.sampled_from(GO), max_size=3),
)
def test_what_is_left_is_stable(kept: list[str], gone: list[str]) -> None:
    text = "\n".join(["What is shown?", *kept])
    assert strip_directives("\n".join([text, *gone])) == text
    assert strip_directives(text) == text


@pytest.mark.parametrize(
    ("text", "clean", "form"),
    [
        ("Find the area and provide your answer after careful reasoning.", "Find the area.", ""),
        ("Find x and answer with the option letter.", "Find x.", "letter"),
        ("What? Answer with a single letter.", "What?", "letter"),
        ("What? (Reply with the option letter only)", "What?", "letter"),
        ("How many? Answer with a number.", "How many?", "number"),
        ("What? Answer in one word.", "What?", "phrase"),
        ("What? Answer with a number, a word or a short phrase.", "What?", "short"),
        ("What? Put the answer in \\boxed{}.", "What?", ""),
        ("What? Please answer the question requiring an integer answer.", "What?", "integer"),
        ("What is it?", "What is it?", ""),
    ],
)
def test_the_form_that_was_wanted_is_known(text: str, clean: str, form: str) -> None:
    assert (strip_directives(text), answer_form(text)) == (clean, form)


def test_a_form_is_said_only_of_an_answer_that_has_it() -> None:
    assert with_form("q", "letter", "B") == f"q\n{FORMS['letter']}"
    assert with_form("q", "letter", "42") == "q"
    assert with_form("q", "number", "seven") == "q"
    assert with_form("q", "phrase", "a b c d e f g h") == "q"
    assert with_form("q", "", "B") == "q"


def test_the_prompt_says_the_form_where_its_directive_was_taken_out(tmp_path: Path) -> None:
    asked = "Which?\nA) red\nB) blue\nPlease answer with the option letter."
    extra = {"question": asked, "answer": "B", "reward_type": "multiple_choice"}
    rows = [vero(0, "tqa", extra_info=extra), vero(1, "tqa")]
    build(places(tmp_path, {"stem-tqa": rows}, [mmfine(0)]), tmp_path / "o", Recipe(), tokens)
    corpus = TableCorpus(tmp_path / "o", 0)
    told = {q.id: q for q in (corpus[i] for i in corpus.ids)}
    question = told["vero/stem-tqa/v0"]
    assert question.text == f"Which?\nA) red\nB) blue\n{FORMS['letter']}"
    assert FORMS["letter"] in OURS.with_closer(question.text)
    assert (question.kind, question.options) == ("choice", ("red", "blue"))
    assert told["vero/stem-tqa/v1"].text == "What is number 1 of tqa?"
    assert {r["form"] for r in corpus_rows(tmp_path / "o")} == {"", "letter"}


def test_long_and_odd_texts_cost_little() -> None:
    texts = [
        "word " * 200_000,
        "(" * 50_000,
        "a, " * 60_000 + "answer",
        "Answer " * 50_000,
        "answer before " * 1000 + "x",
        "a\n" * 100_000,
        "(a" * 9000 + ")" * 9000,
    ]
    begun = time.process_time()
    for text in texts:
        strip_directives(text)
    assert time.process_time() - begun < 20
