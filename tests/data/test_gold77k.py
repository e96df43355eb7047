"""The gold of the two sources: what their verifiers grade, with all that they say of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from sources77k import corpus_rows, mmfine, picture, places, tokens, vero

from zppo_core.config import load
from zppo_core.data.corpus import TableCorpus
from zppo_core.data.kinds import read_options
from zppo_core.data.zppo77k.build import Builder, build, parts_of
from zppo_core.data.zppo77k.card import write_card
from zppo_core.data.zppo77k.rows import read_row
from zppo_core.data.zppo77k.sources import Recipe
from zppo_core.errors import UserError
from zppo_core.run.corpus import build_corpus


def row_of(truth: Any, reward: str = "string_match", answer: Any = None, **extra: Any) -> Any:
    about = {"question": "What?", "reward_type": reward, "answer": answer, **extra}
    model = {"style": "rule", "ground_truth": truth}
    return read_row("vero", vero(0, "tqa", extra_info=about, reward_model=model), "p#0")


def test_the_gold_is_what_vero_grades_and_disagreement_is_counted(tmp_path: Path) -> None:
    row = row_of("0.45", answer="raw answer 45%")
    assert (row.answer, row.counted) == ("0.45", ("gold differs from extra_info.answer",))
    assert row_of("Red", answer=" red ").counted == ()
    assert row_of(None, answer="7").answer == "7"
    assert row_of(["a", "b"], "list_string_match", "b").counted == ()
    rows = [
        vero(
            i,
            "tqa",
            reward_model={"ground_truth": str(i)},
            extra_info={"question": f"What is {i}?", "answer": str(i % 3)},
        )
        for i in range(9)
    ]
    fines = [mmfine(0), mmfine(1, pass_rate=None), mmfine(2, pass_rate=float("nan"))]
    where = places(tmp_path, {"stem-tqa": rows}, fines)
    builder = Builder(tmp_path / "o", Recipe(), tokens, where)
    builder.take(next(iter(parts_of("vero", where["vero"]))))
    builder.db.close()  # and goes on
    card = build(where, tmp_path / "o", Recipe(), tokens)
    assert card.counted == {"gold differs from extra_info.answer": 6, "no pass rate": 2}
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["counted"] == card.counted
    text = write_card(tmp_path / "o", 384, 200).read_text()
    assert "| gold differs from extra_info.answer | 6 |" in text
    assert "| no pass rate | 2 |" in text


@pytest.mark.parametrize(
    ("truth", "reward", "gold", "kind", "accepted"),
    [
        (["sofa", "couch"], "list_string_match", "sofa", "", ("couch",)),
        ("['sofa', 'couch', 'sofa']", "List String Match", "sofa", "", ("couch",)),
        (["b", "a"], "list_match", "b, a", "list", ()),
        ("['b', 'a']", "list_match", "b, a", "list", ()),
        ('["b", "a"]', "list_match", "b, a", "list", ()),
        ("b, a", "list_match", "b, a", "list", ()),
        ("[3, 1, 2]", "ordering", "3, 1, 2", "ordered", ()),
        (["C", "A", "B"], "ordering", "C, A, B", "ordered", ()),
        ("0.450", "numeric", "0.450", "number", ()),
        ("007", "exact_match", "007", "", ()),
        ("B", "multiple_choice", "B", "choice", ()),
        ("35-44", "string_match", "35-44", "", ()),
    ],
)
def test_types_of_reward_become_kinds_of_answer(
    truth: Any, reward: str, gold: str, kind: str, accepted: tuple[str, ...]
) -> None:
    row = row_of(truth, reward)
    assert (row.answer, row.kind, row.accepted, row.fault) == (gold, kind, accepted, "")


@pytest.mark.parametrize("reward", ["llm_judge", "LLM-Judge", "llm judge"])
def test_rows_for_a_judge_are_judged(reward: str) -> None:
    assert row_of("a long free text", reward).judged


def test_a_corpus_keeps_what_is_known_of_its_answers(tmp_path: Path) -> None:
    rows = [
        vero(
            0,
            "aokvqa",
            extra_info={
                "question": "What stands here?",
                "answer": ["sofa", "couch"],
                "reward_type": "list_string_match",
            },
        ),
    ]
    numeric = {
        "question": "How tall?",
        "answer": "3.5",
        "reward_type": "numeric",
        "tolerance": 0.05,
    }
    veros = {"knowledge_recognition-aokvqa": rows, "stem-tqa": [vero(1, "tqa", extra_info=numeric)]}
    listed = mmfine(0, question="<image>Which?\n(A) red\n(B) green\n(C) blue", answer="C")
    build(places(tmp_path, veros, [listed]), tmp_path / "o", Recipe(), tokens)
    written = {r["id"]: r for r in corpus_rows(tmp_path / "o")}
    assert {r["reward_type"] for r in written.values()} == {"list_string_match", "numeric", ""}
    corpus = TableCorpus(tmp_path / "o", 0)
    sofa = corpus["vero/knowledge_recognition-aokvqa/v0"]
    assert (sofa.gold, sofa.accepted) == ("sofa", ("couch",))
    tall = corpus["vero/stem-tqa/v1"]
    assert (tall.kind, tall.tolerance) == ("number", 0.05)
    assert corpus["mmfine/MMR1/m0"].options == ("red", "green", "blue")
    bare = list(corpus.without_pictures())
    assert [(q.id, q.gold, q.accepted, q.images) for q in bare] == [
        (i, corpus[i].gold, corpus[i].accepted, ()) for i in corpus.ids
    ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Which? A) 1 B) 2 C) 3", ("1", "2", "3")),
        ("Which?\nA. red car\nB. blue car", ("red car", "blue car")),
        ("Which?\n(A) red, big;\n(B) blue\nUse the figure.", ("red, big", "blue")),
        ("Which?\na. one\nb. two", ("one", "two")),
        ("Choices: A: 3 B: 4", ("3", "4")),
        ("Is A. Smith (B) here?", ()),
        ("A) B) C)", ()),
        ("Point A) is left.", ()),
    ],
)
def test_options_are_read_from_the_question(text: str, options: tuple[str, ...]) -> None:
    assert read_options(text) == options


def test_rows_of_odd_forms_are_counted_never_a_traceback(tmp_path: Path) -> None:
    odd: list[dict] = [
        {"prompt": "text", "extra_info": None},
        {"reward_model": None, "extra_info": None},
        {"prompt": [{"content": "x"}], "extra_info": {"question": None}},
        {"extra_info": {"question": "q", "tolerance": "much"}},
        {"reward_model": {"ground_truth": {"a": 1}}},
        {"image": {"bytes": "text", "path": None}},
        {"extra_info": {"question": "\ud800"}},
        {"id": float("nan")},
    ]
    faults = [read_row("vero", vero(0, "tqa", **change), "p#0").fault for change in odd]
    assert faults == [
        "no question",
        "no answer",
        "no question",
        "a tolerance that is no number >= 0",
        "an answer of type dict",
        "no image",
        "text that is no Unicode (a lone surrogate)",
        "",
    ]
    long = read_row("mmfine", mmfine(0, question="word " * 300_000), "p#0")
    assert long.fault == "question longer than 1,000,000 characters"


def test_a_very_long_question_is_not_tokenised_whole(tmp_path: Path) -> None:
    counted = []

    def count(text: str, size: tuple[int, int]) -> int:
        counted.append(len(text))
        return len(text.split())

    fines = [mmfine(0, question="word " * 100_000), mmfine(1)]
    card = build(places(tmp_path, {}, fines), tmp_path / "o", Recipe(), count)
    assert card.rejects == {"prompt longer than 4096 tokens": 1}
    assert max(counted) <= 8 * 4096


def test_pictures_on_their_side_are_written_upright(tmp_path: Path) -> None:
    import io

    from PIL import Image

    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(picture(5, (160, 120)))) as image:
        image.convert("RGB").save(buffer, "JPEG", exif=exif)
    fine = mmfine(0, image={"bytes": buffer.getvalue(), "path": None})
    build(places(tmp_path, {}, [fine]), tmp_path / "o", Recipe(), tokens)
    row = next(r for r in corpus_rows(tmp_path / "o") if r["source"] == "mmfine")
    assert (row["width"], row["height"]) == (120, 160)
    with Image.open(io.BytesIO(row["image"])) as image:
        assert image.size == (120, 160)
        assert image.getexif().get(0x0112, 1) == 1


def test_a_corpus_of_an_older_builder_is_refused_in_one_line(tmp_path: Path) -> None:
    where = places(tmp_path, {}, [mmfine(0)])
    build(where, tmp_path / "o", Recipe(), tokens)
    config = load("nano", ["data.source=zppo77k", f"data.corpus={tmp_path / 'o'}"])
    assert len(build_corpus(config)) == 2
    file = tmp_path / "o" / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["version"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="built by version 1 of the builder, and this is version 2"):
        build_corpus(config)
