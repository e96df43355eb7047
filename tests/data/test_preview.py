"""The report before training: rows as the student will see them, kinds, the golds' own reward."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from zppo_core import models
from zppo_core.config import load
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.kinds import kind_of
from zppo_core.data.preview import preview
from zppo_core.prompts import OURS
from zppo_core.protocols import silent
from zppo_core.run.corpus import build_corpus, prepare, preview_of
from zppo_core.run.setup import open_run
from zppo_core.types import Grade, Prompt, Question


def plain(pairs: Sequence[tuple[Question, str]]) -> list[Grade]:
    return [Grade(float(q.gold != "x"), "correct" if q.gold != "x" else "no_box") for q, _ in pairs]


def test_rows_are_shown_as_the_student_sees_them(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    rows = [{"question": f"How many of {i}?", "answer": i, "image": "a.png"} for i in range(20)]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = load("nano", [f"data.source={path}"])
    corpus = build_corpus(config)
    report = preview_of(config, corpus)
    assert len(report.shown) == 10
    assert [s.question.id for s in report.shown] == corpus.new_ids(0, 20)[:10]
    renderer = models.load_renderer("nano:student", 0, images=True)
    for row in report.shown:
        prompt = Prompt(
            OURS.with_closer(row.question.text), row.question.images, config.student.thinking
        )
        assert row.prompt == renderer.template(prompt)
        assert row.reward == 1.0
    text = report.text()
    assert "answers by kind: 20 integer" in text
    assert "each of 20 gold answers earns the reward itself" in text
    assert (
        f"{report.shown[0].question.id}: answer {report.shown[0].question.gold!r}, integer; "
        in text
    )
    assert "pictures 64 x 48" in text
    assert "How many of" in text


def test_each_kind_is_shown_and_golds_that_earn_nothing_are_named() -> None:
    golds = ["1"] * 40 + ["x", "B", "1.5", "a, b", "yes"]
    questions = [Question(f"q{i}", "t", gold) for i, gold in enumerate(golds)]
    questions.append(Question("free", "t", "some text", judged=True))
    report = preview(ListCorpus(questions, 0), lambda q: f"<{q.text}>", plain)
    kinds = {s.kind for s in report.shown}
    assert kinds == {"integer", "name", "choice", "decimal", "list", "boolean", "free text"}
    assert len(report.shown) == 10
    assert report.unrewarded == (("q40", "x", "no_box"),)
    text = report.text()
    assert "1 of 45 gold answers do not earn the reward" in text
    assert "q40 'x' (no_box)" in text
    assert "a judge decides" in text
    long = preview(ListCorpus(questions[:3], 0), lambda q: "y" * 9000, plain)
    assert "(7,000 characters more)" in long.text()
    hostile = preview(ListCorpus(questions[:1], 0), lambda q: "a\x1b[2Jb\nc", plain).text()
    assert "    a\\x1b[2Jb\n    c" in hostile
    assert "\x1b" not in hostile


def test_kinds_are_told_or_seen() -> None:
    seen = {
        "B": "choice",
        "-12": "integer",
        "1,000": "integer",
        "3.50": "decimal",
        "45%": "percentage",
        r"\frac{1}{2}": "fraction",
        "3/4": "fraction",
        "5 cm": "quantity",
        "$5": "quantity",
        "a, b": "list",
        "Yes": "boolean",
        "New York": "name",
        r"\sqrt{2}": "expression",
    }
    assert {gold: kind_of(Question("q", "t", gold)) for gold in seen} == seen
    assert kind_of(Question("q", "t", "5", kind="ordered")) == "ordered"
    assert kind_of(Question("q", "t", "red", options=("red", "blue"))) == "choice"


def test_preparing_a_run_prints_it(tmp_path: Path, capsys) -> None:
    sets = {"data.train_questions": 24, "rollout.new_prompts": 4}
    config = load("nano", {**sets, "store.root": str(tmp_path / "runs")})
    prepare(open_run(config, "1", "look"), [], silent)
    said = capsys.readouterr().out
    assert "answers by kind: " in said
    assert "gold answers earns the reward itself" in said
    assert said.count("; the gold earns 1; pictures ") == 10
