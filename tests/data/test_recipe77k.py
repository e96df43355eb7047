"""What decides the corpus, what it says of itself, and how rows of odd forms are read."""

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sources77k import (
    corpus_rows,
    mmfine,
    picture,
    places,
    small_caps,
    tokens,
    vero,
    write,
)

from eval.overlap import evaluation_signatures
from zppo_core.config import Config, load
from zppo_core.data.zppo77k.build import Builder, build, parts_of
from zppo_core.data.zppo77k.card import write_card
from zppo_core.data.zppo77k.rows import read_row
from zppo_core.data.zppo77k.similar import signature
from zppo_core.data.zppo77k.sources import Recipe
from zppo_core.errors import UserError
from zppo_core.protocols import silent
from zppo_core.run.corpus import build_77k, build_corpus

__all__ = ["small_caps"]  # a fixture


def config_of(tmp_path: Path, where: dict, *sets: str) -> Config:
    return load(
        "nano",
        [
            "data.source=zppo77k",
            f"data.corpus={tmp_path / 'out'}",
            f"data.vero={where['vero']}",
            f"data.mmfine={where['mmfine']}",
            "evaluation.suite=nano_rows",
            *sets,
        ],
    )


def many(tmp_path: Path) -> dict:
    return places(tmp_path, {"stem-tqa": [vero(i, "tqa") for i in range(30)]}, [mmfine(0)])


@pytest.mark.usefixtures("small_caps")
def test_runs_of_any_seed_share_one_corpus_and_data_seed_draws_another(tmp_path: Path) -> None:
    where = many(tmp_path)
    build_77k(config_of(tmp_path, where, "run.seed=3"), [], silent)
    corpora = [build_corpus(config_of(tmp_path, where, f"run.seed={s}")) for s in (0, 3)]
    assert corpora[0].digest() == corpora[1].digest()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    build_77k(config_of(fresh, where, "run.seed=0"), [], silent)
    assert build_corpus(config_of(fresh, where)).digest() == corpora[0].digest()
    other = tmp_path / "other"
    other.mkdir()
    build_77k(config_of(other, where, "data.seed=1"), [], silent)
    drawn = build_corpus(config_of(other, where, "data.seed=1"))
    assert set(drawn.ids) != set(corpora[0].ids)


@pytest.mark.usefixtures("small_caps")
@pytest.mark.parametrize(
    ("changed", "built"),
    [
        ("data.seed=1", "data.seed=0"),
        ("data.max_prompt_tokens=20", "data.max_prompt_tokens=4096"),
        ("data.drop_duplicates=false", "data.drop_duplicates=true"),
        ("data.drop_overlap=true", "data.drop_overlap=false"),
        ("data.more_configs=ecd_vqa=2", "data.more_configs="),
        ("data.reserve=2.0", "data.reserve=1.25"),
        ("data.max_pixels=20000", "data.max_pixels=0"),
    ],
)
def test_a_finished_corpus_by_another_recipe_is_refused(
    tmp_path: Path, changed: str, built: str
) -> None:
    where = many(tmp_path)
    build_77k(config_of(tmp_path, where), [], silent)
    assert len(build_corpus(config_of(tmp_path, where, "data.reserve=1.25"))) == 9
    other = config_of(tmp_path, where, changed)
    build_77k(other, [], silent)  # leaves it alone
    with pytest.raises(UserError) as refused:
        build_corpus(other)
    said = str(refused.value)
    assert f"built with {built} but the run has {changed}; set those, or another" in said
    assert "\n" not in said


def test_a_corpus_by_an_older_version_is_refused_in_one_line(tmp_path: Path) -> None:
    where = many(tmp_path)
    config = config_of(tmp_path, where)
    build_77k(config, [], silent)
    file = tmp_path / "out" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"recipe": "Recipe(seed=0)"}))
    with pytest.raises(UserError, match="an older version's recipe"):
        build_corpus(config)


def test_an_unfinished_build_is_refused_if_its_sources_changed(tmp_path: Path) -> None:
    where = many(tmp_path)
    builder = Builder(tmp_path / "out", Recipe(), tokens, where)
    builder.take(next(iter(parts_of("vero", where["vero"]))))
    builder.db.close()
    moved = {**where, "vero": str(tmp_path / "elsewhere")}
    with pytest.raises(UserError, match=r"another recipe, data\.vero=.*/vero, but the run has .*"):
        build(moved, tmp_path / "out", Recipe(), tokens)
    assert build(where, tmp_path / "out", Recipe(), tokens).by_name["tqa"] == 30


@pytest.mark.usefixtures("small_caps")
def test_vero_wins_on_duplicates_whatever_the_tier(tmp_path: Path) -> None:
    asked = "How many red blocks lie on the green table in this picture?"
    extra = {"question": asked, "answer": "3", "reward_type": "numeric"}
    image = {"bytes": picture(5), "path": None}
    veros = {"knowledge_recognition-iconqa": [vero(1, "iconqa", image=image, extra_info=extra)]}
    fines = [mmfine(1, "MMR1", image=image, question=f"<image>{asked}", answer="3"), mmfine(2)]
    build(places(tmp_path, veros, fines), tmp_path / "out", Recipe(), tokens)
    ids = [r["id"] for r in corpus_rows(tmp_path / "out")]
    assert ids == ["mmfine/MMR1/m2", "vero/knowledge_recognition-iconqa/v1"]


@pytest.mark.usefixtures("small_caps")
def test_questions_on_one_figure_with_other_answers_are_all_kept(tmp_path: Path) -> None:
    stem = "As shown in the figure, AB is a diameter of circle O, and C and D lie on it; what is "
    rows = [
        vero(
            i,
            "geo170k",
            image={"bytes": picture(7), "path": None},
            extra_info={"question": f"{stem}angle {name}?", "answer": answer},
        )
        for i, (name, answer) in enumerate((("AOD", "50"), ("ACD", "65"), ("AOD", "50")))
    ]
    card = build(places(tmp_path, {"stem-geo170k": rows}, []), tmp_path / "o", Recipe(), tokens)
    assert card.by_name["geo170k"] == 2
    assert card.rejects == {"nearly the same as another question": 1}


@pytest.mark.usefixtures("small_caps")
def test_the_card_says_what_was_found_twice_and_what_a_larger_reserve_would_fill(
    tmp_path: Path, capsys
) -> None:
    same = {
        "image": {"bytes": picture(0), "path": None},
        "extra_info": {"question": "What is number 0 of tqa?", "answer": "0"},
    }
    rows = [vero(i, "tqa", **same) for i in range(20)]
    rows += [vero(100 + i, "tqa") for i in range(20)]
    where = places(tmp_path, {"stem-tqa": rows}, [mmfine(0)])
    tested = [signature("Find angle 0 of MMR1.", picture(10_000))]
    card = build(where, tmp_path / "direct", Recipe(), tokens, tested)
    kept = card.by_name["tqa"]
    assert kept < 8
    assert card.short == {"tqa": (kept, 8)}
    text = write_card(tmp_path / "direct", 384, 200).read_text()
    assert "1 questions overlap the evaluation (kept); compared with 1 evaluation" in text
    assert "overlaps the evaluation |" not in text
    assert f"left out over it: tqa {kept} of 8; raise data.reserve" in text
    card = build(where, tmp_path / "dropped", Recipe(drop_overlap=True), tokens, tested)
    text = write_card(tmp_path / "dropped", 384, 200).read_text()
    assert "1 questions overlap the evaluation (left out); compared with 1 evaluation" in text
    assert text.count("| overlaps the evaluation | 1 |") == 1
    build_77k(config_of(tmp_path, where), [], silent)
    assert f"tqa {kept} of 8; raise data.reserve" in capsys.readouterr().out
    filled = build(where, tmp_path / "filled", Recipe(reserve=4.0), tokens)
    assert (filled.by_name["tqa"], filled.short) == (8, {})
    with pytest.raises(UserError, match=r"data\.reserve must be in"):
        load("nano", ["data.reserve=0.9"])


def test_each_row_says_its_licence(tmp_path: Path) -> None:
    where = places(tmp_path, {}, [mmfine(0)])
    build(where, tmp_path / "out", Recipe(), tokens)
    said = {r["source"]: r["licence"] for r in corpus_rows(tmp_path / "out")}
    assert set(said) == {"vero", "mmfine"}
    assert all(v.startswith("Apache-2.0") and "sub-dataset's own terms" in v for v in said.values())


def test_rows_without_ids_never_collide_and_0_is_an_id(tmp_path: Path) -> None:
    where = places(
        tmp_path,
        {"stem-tqa": [vero(i, "tqa", id=None) for i in range(3)]},
        [mmfine(i, id=key) for i, key in enumerate((5, 4, 0, 2))],
    )
    late = [vero(10 + i, "tqa", id=None) for i in range(3)]
    write(tmp_path / "vero/stem-tqa/train-00001.parquet", late)
    card = build(where, tmp_path / "out", Recipe(), tokens)
    assert (card.by_name["tqa"], card.by_name["mmr1"]) == (6, 4)
    ids = {r["id"] for r in corpus_rows(tmp_path / "out")}
    assert "mmfine/MMR1/0" in ids
    assert "vero/stem-tqa/stem-tqa/train-00001.parquet#2" in ids


def test_messages_in_parts_are_read_as_their_text() -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "Which one?"}]
    row = vero(0, "tqa", prompt=[{"role": "user", "content": parts}], extra_info={"answer": "A"})
    assert read_row("vero", row, "p#0").question == "Which one?"


@pytest.mark.parametrize("control", ["<|image_pad|>", "<|im_end|>", "<|vision_start|>"])
def test_a_question_with_control_text_is_left_out(tmp_path: Path, control: str, capsys) -> None:
    asked = f"What is {control} here?"
    assert read_row("mmfine", mmfine(0, question=asked), "p#0").fault == (
        "control text in the question"
    )
    assert read_row("mmfine", mmfine(0, question="Is |x|<|y|?"), "p#0").fault == ""
    table = pd.DataFrame({"question": ["a?"] * 40 + [asked], "answer": ["1"] * 41})
    table.to_parquet(tmp_path / "t.parquet")
    assert len(build_corpus(load("nano", [f"data.source={tmp_path / 't.parquet'}"]))) == 40
    assert "1 with control text in the question" in capsys.readouterr().out


def test_a_transparent_picture_is_written_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (120, 110), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (30, 30, 60, 90))
    palette = Image.new("P", (120, 110), 0)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    buffers = []
    for image, options in ((clear, {}), (palette, {"transparency": 0})):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **options)
        buffers.append(buffer.getvalue())
    rows = [mmfine(i, image={"bytes": b, "path": None}) for i, b in enumerate(buffers)]
    build(places(tmp_path, {}, rows), tmp_path / "out", Recipe(), tokens)
    written = [r["image"] for r in corpus_rows(tmp_path / "out") if r["source"] == "mmfine"]
    for data in written:
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "RGB"
            assert image.getpixel((0, 0)) == (255, 255, 255)
    with Image.open(io.BytesIO(written[0])) as image:
        assert image.getpixel((40, 40)) == (0, 0, 0)


def test_the_evaluation_flattens_alike_and_leaves_other_pictures_as_they_are() -> None:
    from eval.rows import checked
    from zppo_core.data.pixels import ANY_SIZE

    clear = io.BytesIO()
    Image.new("RGBA", (120, 110), (0, 0, 0, 0)).save(clear, "PNG")
    pictures = [checked(clear.getvalue(), "x"), ANY_SIZE.scaled(clear.getvalue())]
    opened = [Image.open(io.BytesIO(p)) for p in pictures]
    assert {o.mode for o in opened} == {"RGB"}
    assert opened[0].tobytes() == opened[1].tobytes() == b"\xff" * (120 * 110 * 3)
    plain = io.BytesIO()
    Image.new("RGB", (120, 110), "red").save(plain, "JPEG")
    assert checked(plain.getvalue(), "x") == ANY_SIZE.scaled(plain.getvalue()) == plain.getvalue()


@pytest.mark.parametrize(
    ("reward", "answer", "gold", "fault"),
    [
        ("list_string_match", ["surfboard", "surf board"], "surfboard", ""),
        ("list_string_match", "['surfboard', 'surf board']", "surfboard", ""),
        ("list_string_match", "[not a list", "[not a list", ""),
        ("list_string_match", "surfboard", "surfboard", ""),
        ("number_list", [3, 1, 2], "3, 1, 2", ""),
        ("instruction_following", "x", "x", "gold of type instruction_following"),
        ("Instruction Following IFEval", "x", "x", "gold of type instruction_following_ifeval"),
    ],
)
def test_gold_answers_by_their_reward_type(
    reward: str, answer: object, gold: str, fault: str
) -> None:
    extra = {"question": "What?", "answer": answer, "reward_type": reward}
    row = read_row("vero", vero(0, "tqa", extra_info=extra), "p#0")
    assert (row.answer, row.fault) == (gold, fault)


def test_an_unreadable_picture_of_the_evaluation_stops_nothing(tmp_path: Path, capsys) -> None:
    from eval import fixtures

    fixtures.build(tmp_path)
    sets = ["evaluation.suite=AI2D", f"evaluation.source={tmp_path}"]
    whole = len(list(evaluation_signatures(load("nano", sets))))
    file = next((tmp_path / "lmms-lab-encoder" / "ai2d").rglob("*.parquet"))
    table = pq.read_table(file)
    images = table.column("image").to_pylist()
    images[0] = {"bytes": b"\x89PNG broken", "path": None}
    place, field = table.schema.get_field_index("image"), table.schema.field("image")
    pq.write_table(table.set_column(place, field, pa.array(images, type=field.type)), file)
    assert len(list(evaluation_signatures(load("nano", sets)))) == whole - 1
    said = capsys.readouterr().out
    assert f"no check of overlap with 1 of {whole} questions of AI2D, first: broken" in said
    assert said.count("\n") == 1


def test_videos_are_no_matter_of_overlap(tmp_path: Path, monkeypatch, capsys) -> None:
    import eval.suite

    def forbidden(*_: object) -> None:
        raise AssertionError("a video benchmark was opened")

    monkeypatch.setattr(eval.suite, "load", forbidden)
    sets = ["evaluation.suite=MVBench", f"evaluation.source={tmp_path}"]
    assert list(evaluation_signatures(load("nano", sets))) == []
    assert capsys.readouterr().out == ""
