"""A corpus, a reward and prompts of one's own, by the examples of docs/customise.md."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from zppo_core import models
from zppo_core.algorithm.reformulations.bcq import bcq_text
from zppo_core.config import load
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.digits import train_questions
from zppo_core.data.table import encode_images, parse_columns, read_table
from zppo_core.errors import UserError
from zppo_core.prompts import OURS, Templates
from zppo_core.rewards.custom import OwnReward
from zppo_core.run.corpus import build_corpus
from zppo_core.run.preflight import check
from zppo_core.store.objects import open_store
from zppo_core.types import Grade, Prompt, Question

DOCS = (Path(__file__).parents[2] / "docs" / "customise.md").read_text()
QUESTION = Question("q", "What colour?", "Blue")


def png(colour: str = "red", form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, form)
    return buffer.getvalue()


def table(folder: Path, **columns) -> Path:
    path = folder / "table.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def test_a_table_becomes_questions_by_the_mapping_of_the_docs(tmp_path: Path) -> None:
    mapping = re.search(r'"data\.columns=(.+?)"', DOCS)
    assert mapping is not None
    path = table(
        tmp_path,
        problem=["a?", "b?"],
        solution=[4, 0],
        topic=["lines", "angles"],
        figures=[[png(), png("blue", "JPEG")], []],
    )
    corpus = build_corpus(load("nano", [f"data.source={path}", f"data.columns={mapping.group(1)}"]))
    first, second = corpus["row-0000000"], corpus["row-0000001"]
    assert (first.text, first.gold, first.category, first.family) == ("a?", "4", "lines", "VLM")
    assert len(first.images) == 2
    assert (second.family, second.images, second.gold) == ("LLM", (), "0")


@pytest.mark.parametrize("form", ["jsonl", "csv", "folder"])
def test_other_formats_and_folders_are_read(tmp_path: Path, form: str) -> None:
    rows = [{"question": f"q{i}", "answer": str(i)} for i in range(3)]
    if form == "csv":
        pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    else:
        (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = tmp_path if form == "folder" else tmp_path / f"t.{form}"
    questions, report = read_table(str(source), {})
    assert [(q.text, q.gold) for q in questions] == [("q0", "0"), ("q1", "1"), ("q2", "2")]
    assert report.dropped == {}


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    n = 100
    path = table(
        tmp_path,
        question=["", *["q"] * (n - 1)],
        answer=["1"] * n,
        picture=[png()] * (n - 1) + [b"no image"],
        key=["a", "b", "b", *map(str, range(3, n))],
    )
    questions, report = read_table(str(path), {"image": "picture", "id": "key"})
    assert report.kept == len(questions) == n - 3
    assert report.text() == (
        "97 questions; left out: 1 with an id seen before, 1 with an unreadable image, "
        "1 without question or answer"
    )


def test_a_table_that_cannot_serve_is_refused_in_one_line(tmp_path: Path) -> None:
    path = table(tmp_path, question=["q"] * 4, answer=["", "", "1", "2"])
    with pytest.raises(UserError, match="2 without question or answer"):
        read_table(str(path), {})
    with pytest.raises(UserError, match="no column 'solution' but question, answer"):
        read_table(str(path), {"answer": "solution"})
    with pytest.raises(UserError, match="is no role"):
        parse_columns({"gold": "answer"})
    with pytest.raises(UserError, match="does not exist"):
        read_table(str(tmp_path / "none.parquet"), {})
    with pytest.raises(UserError, match="holds no file"):
        read_table(str(tmp_path / "."), {}) if not path.unlink() else None


def test_images_of_every_kind_become_png_or_jpeg(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png())
    as_bmp = encode_images(png(form="BMP"))
    assert as_bmp[0].startswith(b"\x89PNG")
    assert encode_images({"bytes": png(), "path": None}) == (png(),)
    assert encode_images(str(tmp_path / "x.png")) == (png(),)
    assert encode_images(Image.new("L", (2, 2)))[0].startswith(b"\x89PNG")
    assert encode_images(None) == ()
    with pytest.raises(TypeError):
        encode_images(3)


def test_pictures_of_a_table_are_scaled_into_the_bounds(tmp_path: Path) -> None:
    sides = [*[(4, 4)] * 40, (40, 10), (1, 500)]
    pictures = []
    for size in sides:
        buffer = io.BytesIO()
        Image.new("RGB", size).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    path = table(tmp_path, question=["q"] * 42, answer=["1"] * 42, image=pictures)
    columns = "data.columns=image=image"
    own = build_corpus(load("nano", [f"data.source={path}", columns]))
    assert [own[i].images[0] for i in own.ids] == pictures[:-1]  # the last no processor takes
    sets = ["data.min_pixels=64", "data.max_pixels=100"]
    bounded = build_corpus(load("nano", [f"data.source={path}", columns, *sets]))
    sizes = [Image.open(io.BytesIO(bounded[i].images[0])).size for i in bounded.ids]
    assert sizes == [(8, 8)] * 40 + [(20, 5)]
    assert own.digest() != bounded.digest()


def test_a_prompt_that_is_too_long_is_left_out_never_cut(tmp_path: Path, capsys) -> None:
    renderer = models.load_renderer("nano:student", 0, images=True)
    asked = ["short?"] * 60 + ["long " * 40 + "?", "two pictures?"]
    pictures = [[png()]] * 61 + [[png(), png()]]
    path = table(tmp_path, question=asked, answer=["1"] * 62, image=pictures)
    whole = [
        renderer.encode(Prompt(OURS.with_closer(text), tuple(given))).length
        for text, given in zip(asked, pictures, strict=True)
    ]
    sets = [f"data.source={path}", "data.columns=image=image"]
    for most, kept in ((max(whole), 62), (max(whole) - 1, 61), (whole[0], 60)):
        corpus = build_corpus(load("nano", [*sets, f"data.max_prompt_tokens={most}"]))
        assert len(corpus) == kept
    assert "2 with a prompt of more than" in capsys.readouterr().out
    with pytest.raises(UserError, match="not fit to train on"):
        build_corpus(load("nano", [*sets, f"data.max_prompt_tokens={whole[0] - 1}"]))


def test_the_nano_questions_keep_their_pictures_unless_bounds_are_set() -> None:
    few = "data.train_questions=6"
    own = build_corpus(load("nano", [few]))
    bounded = build_corpus(load("nano", [few, "data.max_pixels=512"]))
    assert own.digest() == ListCorpus(train_questions(6, seed=0), 0).digest()
    scaled = 0
    for i in own.ids:
        for before, after in zip(own[i].images, bounded[i].images, strict=True):
            size = Image.open(io.BytesIO(before)).size
            assert math.prod(Image.open(io.BytesIO(after)).size) <= 512
            assert (before == after) == (math.prod(size) <= 512)
            scaled += before != after
        # teacher draws for one picture are never taken for the other
        prompts = [Prompt(q.text, q.images).digest() for q in (own[i], bounded[i])]
        assert (prompts[0] == prompts[1]) == (own[i].images == bounded[i].images)
    assert scaled > 0


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    example = re.search(r"```python\n(.+?)```", DOCS, re.DOTALL)
    assert example is not None
    slow = (
        "\n\ndef never(question, response):\n    while True:\n        pass\n"
        "\n\ndef broken(question, response):\n    return 1.0\n"
        "\n\ndef half(question, response):\n    return Grade(0.5, 'correct', 'x')\n"
        "\n\ndef great(question, response):\n    return Grade(1.0, 'great', 'x')\n"
    )
    (tmp_path / "my_rewards.py").write_text(example.group(1) + slow)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_rewards"


def test_the_reward_of_the_docs_grades(own_module: str) -> None:
    reward = OwnReward(f"{own_module}:contains_gold")
    grades = reward.grade_all([(QUESTION, "It is BLUE."), (QUESTION, "It is red.")])
    assert grades[0] == Grade(1.0, "correct", "It is BLUE.")
    assert [g.reward for g in grades] == [1.0, 0.0]


def test_a_reward_that_hangs_is_a_timeout_and_one_that_fails_stops_the_run(own_module: str) -> None:
    hangs = OwnReward(f"{own_module}:never", workers=1, timeout=1.0)
    assert hangs.grade_all([(QUESTION, "x")]) == [Grade(0.0, "timeout")]
    with pytest.raises(UserError, match="not a Grade"):
        OwnReward(f"{own_module}:broken").grade_all([(QUESTION, "x")])
    with pytest.raises(UserError, match="not a Grade with reward 0 or 1"):
        OwnReward(f"{own_module}:half").grade_all([(QUESTION, "x")])
    with pytest.raises(UserError, match="outcome 'great' is not one of correct"):
        OwnReward(f"{own_module}:great").grade_all([(QUESTION, "x")])


def test_a_question_with_pictures_is_graded_without_them(own_module: str) -> None:
    question = replace(QUESTION, images=(png(),))
    grades = OwnReward(f"{own_module}:contains_gold").grade_all([(question, "blue")])
    assert [g.reward for g in grades] == [1.0]


def test_a_reward_that_is_not_there_is_found_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no_such_rewards"):
        check(load("nano", ["data.reward=no_such_rewards:f", f"store.root={tmp_path}"]))


def test_own_prompts_replace_ours_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "closer.jinja").write_text("Think step by step, then write \\boxed{}.")
    own = Templates(str(tmp_path))
    assert own.with_closer("Why?") == "Why?\nThink step by step, then write \\boxed{}."
    assert bcq_text("Why?", "a", "b", True, own).endswith(own.closer)
    assert own.source("bcq") == Templates().source("bcq")
    with pytest.raises(UserError, match="does not exist"):
        check(load("nano", ["data.prompts=/no/such/folder", f"store.root={tmp_path}"]))


def test_a_table_on_s3_is_read_file_by_file(tmp_path: Path, s3_url: str) -> None:
    store = open_store(s3_url)
    for part in ("b", "a"):
        rows = [{"question": f"{part}{i}", "answer": str(i), "image": png()} for i in range(2)]
        pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
        store.put_file(f"parts/{part}.parquet", tmp_path / "t.parquet")
    store.put("parts/README.md", b"not a table")
    questions, report = read_table(f"{s3_url}/parts", {"image": "image"})
    assert [q.text for q in questions] == ["a0", "a1", "b0", "b1"]
    assert report.kept == 4
    assert questions[0].images == (png(),)
    (one, _) = read_table(f"{s3_url}/parts/b.parquet", {})
    assert [q.text for q in one] == ["b0", "b1"]
    with pytest.raises(UserError, match="holds no"):
        read_table(f"{s3_url}/empty", {})
