"""Sub-datasets by name, and questions without upstream directives."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources77k import corpus_rows, mmfine, places, tokens, vero

from zppo_core.config import load
from zppo_core.data.directives import strip_directives
from zppo_core.data.zppo77k import build as build77k
from zppo_core.data.zppo77k import sources as zppo77k
from zppo_core.data.zppo77k.build import build
from zppo_core.data.zppo77k.sources import SUB_DATASETS, Names, Recipe, parse_more
from zppo_core.errors import UserError

canonical = Names().canonical


def test_names_are_the_papers_in_every_spelling() -> None:
    assert len([s for s in SUB_DATASETS if s.vero]) == 29
    assert sum(s.cap for s in SUB_DATASETS) == 85_400
    assert canonical("vero", "stem-wemath20_pro") == canonical("mmfine", "WeMath2-SFT") == "wemath"
    assert canonical("mmfine", "FineVision-geometry3k(mathv360k)") == "geometry3k"
    assert canonical("vero", "spatial_action-game_QA") is None
    assert canonical("mmfine", "GameQA-140K") is None
    for spelling, name in {
        "FineVision-geo170k(qa)": "geo170k",
        "geo170k": "geo170k",
        "scienceqa": "scienceqa",
        "geometry3k": "geometry3k",
        "mmopenr1": "mm_openr1",
        "ViRL": "virl39k",
        "Euclid": "euclid",
        "visualwebinstruct(filtered)": "visualwebinstruct",
        "RAVEN": "raven",
        "tqa": "tqa",
    }.items():
        assert canonical("mmfine", spelling) == name
    assert canonical("vero", "counting_grounding_search-multihop_qa") == "multihop"
    for unlisted in (
        "stem-mavis_math_metagen",
        "stem-mavis_math_rule_geo",
        "stem-CoSyn_400k_chemical",
        "counting_grounding_search-objects365",
    ):
        assert canonical("vero", unlisted) is None
    for name in ("stem-brand_new", "ViRL40K"):
        with pytest.raises(KeyError):
            canonical("vero" if "-" in name else "mmfine", name)


def test_all_unknown_configs_are_named_before_a_row_is_read(tmp_path: Path) -> None:
    veros = {
        "stem-aaa": [vero(0, "aaa")],
        "stem-bbb": [vero(1, "bbb")],
        "stem-tqa": [vero(2, "tqa")],
    }
    where = places(tmp_path, veros, [mmfine(0, "Nope")])
    with pytest.raises(UserError, match="'stem-aaa', 'stem-bbb'; name them in data"):
        build(where, tmp_path / "out", Recipe(), tokens)
    (tmp_path / "vero/stem-tqa/train-00000.parquet").write_bytes(b"not read")
    with pytest.raises(UserError, match="'stem-aaa', 'stem-bbb'"):
        build(where, tmp_path / "out", Recipe(), tokens)


def test_unknown_sources_are_named_together_and_none_of_their_rows_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build77k, "COMMIT", 2)
    names = ["MMR1", "MMR1", "MMR1", "Nova", "MMR1", "Other", "Nova"]
    where = places(tmp_path, {}, [mmfine(i, name) for i, name in enumerate(names)])
    with pytest.raises(UserError, match="nobody knows: 'Nova', 'Other'; add them"):
        build(where, tmp_path / "out", Recipe(), tokens)
    further = [replace(SUB_DATASETS[-1], name=n, mmfine=(n,)) for n in ("Nova", "Other")]
    monkeypatch.setattr(zppo77k, "SUB_DATASETS", (*SUB_DATASETS, *further))
    card = build(where, tmp_path / "out", Recipe(), tokens)
    assert {r["id"].rpartition("/")[2] for r in corpus_rows(tmp_path / "out")} == {
        "v0",
        *(f"m{i}" for i in range(7)),
    }
    assert card.rows == 8
    assert not card.rejects


def test_a_row_that_names_no_sub_dataset_is_an_error_about_its_column(tmp_path: Path) -> None:
    row = mmfine(0)
    del row["source"]
    with pytest.raises(UserError, match="nothing in column 'source'"):
        build(places(tmp_path, {}, [row]), tmp_path / "out", Recipe(), tokens)


def test_further_configs_are_taken_in_with_the_tier_that_is_set(tmp_path: Path) -> None:
    veros = {
        "chart_ocr-ecd_vqa": [vero(i, "ecd_vqa") for i in range(3)],
        "chart_ocr-reachqa": [vero(9, "reachqa")],
    }
    where = places(tmp_path, veros, [mmfine(0)])
    recipe = Recipe(more=parse_more({"reachqa": 2, "chart_ocr-ecd_vqa": 1}))
    assert recipe.more == (("ecd_vqa", 1), ("reachqa", 2))
    card = build(where, tmp_path / "out", recipe, tokens)
    assert (card.by_name["ecd_vqa"], card.by_name["reachqa"]) == (3, 1)
    assert {r["tier"] for r in corpus_rows(tmp_path / "out") if r["canonical"] == "reachqa"} == {2}
    assert build(where, tmp_path / "paper", Recipe(), tokens).by_name["ecd_vqa"] == 0
    with pytest.raises(UserError, match="has no vizwiz, only chart_ocr-ecd_vqa"):
        build(where, tmp_path / "typo", Recipe(more=parse_more({"vizwiz": 2})), tokens)
    for wrong in ("ecd_vqa", "ecd_vqa=3", "tqa=1", "ecd_vqa=1,ecd_vqa=2", "=2"):
        with pytest.raises(UserError, match=r"data\.more_configs"):
            load("nano", [f"data.more_configs={wrong}"])


BOXED = "\\boxed{}"
THINK = "First think about the reasoning process in the mind and then provide the answer."
TAGS = (
    "The reasoning process and answer are enclosed within <think> </think> and <answer> "
    "</answer> tags."
)
STAYS = (
    "Which answer is right: A) 1 B) 2?",
    f"Give the answer in terms of pi and write it as {BOXED}. What is the area?",
    "Give the answer in cm. What is the reason <think>?",
    "A student will answer by letter from the school. Which day is it?",
    "Which option should Tom answer by using option 3 of the menu shown?",
    "Answer with the letter of the point that lies on AB. The figure shows AB.",
    "What is x? Round the answer to two decimal places.",
    "Look at the sign. Write the letter.",
    "Think of a number. Double it.",
    "Pick a number. Double it.",
    "Pick. A. Use two words. B. Answer the question with one word.",
    "Please answer with one word.",  # nothing else would be left
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<image>\nWhat is it?", "What is it?"),
        ("Look <image> here", "Look\nhere"),
        ("What?\nAnswer the question using a single word or phrase.", "What?"),
        ("What?\nAnswer with the option's letter from the given choices directly.", "What?"),
        ("Solve.\nPut your final answer in \\boxed{}.", "Solve."),
        ("Hint: Please answer with a number.\nHow many?", "How many?"),
        (f"What?\nPlease reason step by step, and put your final answer within {BOXED}.", "What?"),
        (
            "What?\nYou FIRST think about the reasoning process as an internal monologue and "
            "then provide the final answer. The reasoning process MUST BE enclosed within <think> "
            f"</think> tags. The final answer MUST BE put in {BOXED}.",
            "What?",
        ),
        (f"What? {THINK} {TAGS}", "What?"),
        (
            "Hint: Please answer the question and provide the correct option letter, e.g., A, B, "
            "C, D, at the end.\nQuestion: What?\nChoices:\n(A) 1\n(B) 2",
            "Question: What?\nChoices:\n(A) 1\n(B) 2",
        ),
        (
            "Hint: Please answer the question requiring an integer answer. Question: What?",
            "Question: What?",
        ),
        (
            "Answer the question using a single word or phrase: what colour is the car?",
            "what colour is the car?",
        ),
        ("What?\nAnswer with a single letter.", "What?"),
        ("What?\nPlease answer with the letter.", "What?"),
        ("What?\nAnswer with the option letter only.\nA) 1\nB) 2", "What?\nA) 1\nB) 2"),
        ("Please answer the question with a single word. How tall is it?", "How tall is it?"),
        (
            "Answer with the option's letter from the given choices directly. Options: A. 1.5 B. 2",
            "Options: A. 1.5 B. 2",
        ),
        (
            "What?\nPlease directly answer the question and provide the correct option letter, "
            "e.g., A, B, C, D.",
            "What?",
        ),
        ("What? Answer the question with a short phrase.", "What?"),
        (f"What?\nYour final answer should be put in {BOXED}.", "What?"),
        (f"Solve. Put the final answer (e.g. 3.5) in {BOXED}.", "Solve."),
        ("Pick one (answer with the option letter): A) 1 B) 2", "Pick one: A) 1 B) 2"),
        ("Answer with the letter: (A) A (B) B", "(A) A (B) B"),
        ("Find x. Give the letter of the correct answer.", "Find x."),
        *((text, text) for text in STAYS),
    ],
)
def test_marks_and_upstream_directives_are_taken_out(text: str, clean: str) -> None:
    assert strip_directives(text) == clean


PROSE = ("Let AB = 3.", "What is x?", "A) 1", "Dr. Li (left) sits.")


@given(st.lists(st.sampled_from(PROSE), min_size=1), st.sampled_from([" ", "\n"]))
def test_text_without_directives_is_untouched_and_with_them_only_they_go(
    parts: list[str], gap: str
) -> None:
    text = gap.join(parts)
    assert strip_directives(text) == text
    assert strip_directives(f"{text}\n{THINK} {TAGS}") == text
