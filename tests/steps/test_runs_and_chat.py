"""`zppo runs` lists what is in store and database; `zppo chat` answers on a CPU."""

import io
import json
import sys
from datetime import datetime
from pathlib import Path

import pytest

from eval.report import runs
from eval.report.database import ingest
from zppo_core.config import load
from zppo_core.data.digits import benchmark_questions
from zppo_core.records.schema import encode
from zppo_core.run import chat
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore


def journal_of(root: Path, key: str, day: int, steps: int) -> Journal:
    journal = Journal(LocalStore(root), f"{key}/journal")
    row = {
        "run_key": key,
        "created_at": datetime(2026, 1, day),
        "scale": "nano",
        "method": "zppo",
        "seed": 0,
        "config_json": load("nano").to_json(),
        "code_version": "x",
        "machine": "a machine",
        "student_model": "nano:student",
        "student_params": 1,
        "base_model_key": "base",
    }
    journal.commit("run", {"runs.parquet": encode("runs", [row])})
    for step in range(steps):
        phase = {"run_key": key, "step": step, "phase": "update", "seconds": 1.0}
        unit = {"phases.parquet": encode("phases", [phase])}
        journal.commit(f"step-{step:06d}/update", unit)
    return journal


def test_runs_of_a_store_are_listed_the_latest_first(tmp_path, capsys) -> None:
    journal_of(tmp_path / "runs", "old", 1, 40)
    journal_of(tmp_path / "runs", "new", 2, 3)
    line = ["--store", str(tmp_path / "runs"), "--database", str(tmp_path / "none.duckdb")]
    assert runs.main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(r["run"], r["steps"], r["total"]) for r in found] == [("new", 3, 40), ("old", 40, 40)]
    assert found[0]["before"] is None
    assert runs.main(line) == 0
    assert "3/40" in capsys.readouterr().out


def test_a_run_that_is_only_in_the_database_is_listed_too(tmp_path) -> None:
    database = str(tmp_path / "db.duckdb")
    ingest(journal_of(tmp_path / "gone", "elsewhere", 3, 1), "elsewhere", database)
    (line,) = runs.listed(str(tmp_path / "runs"), database)
    assert (line.run, line.place, line.created) == ("elsewhere", database, "2026-01-03T00:00:00")


def test_a_damaged_journal_is_a_line_and_hides_no_other_run(tmp_path, capsys) -> None:
    for key in ("good", "bad"):
        journal_of(tmp_path, key, 1, 1)
    (tmp_path / "bad" / "journal" / "run" / "runs.parquet").write_bytes(b"no")
    lines = runs.listed(str(tmp_path), str(tmp_path / "none.duckdb"))
    assert [line.run for line in lines] == ["good"]
    assert capsys.readouterr().err.startswith("zppo: bad: journal unit run: ")


def test_no_run_at_all_is_one_line(tmp_path, capsys) -> None:
    places = ["--store", str(tmp_path), "--database", str(tmp_path / "none.duckdb")]
    assert runs.main(places) == 2
    assert "start one by zppo run" in capsys.readouterr().err


def test_a_prompt_with_a_picture_is_answered(tmp_path, capsys) -> None:
    (question,) = benchmark_questions("nano_frames", 1)
    picture = tmp_path / "digits.png"
    picture.write_bytes(question.images[0])
    line = ["nano:student", "--image", str(picture), "--prompt", question.text, "--json"]
    assert chat.main([*line, "--max-tokens", "12"]) == 0
    answer = json.loads(capsys.readouterr().out)["answer"]
    assert answer
    assert chat.main([*line, "--max-tokens", "12"]) == 0  # greedy: the same again
    assert json.loads(capsys.readouterr().out)["answer"] == answer


def test_lines_of_the_standard_input_are_turns_of_one_conversation(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 3 plus 4?\n\nAnd plus 2?\n"))
    assert chat.main(["nano:student", "--max-tokens", "4", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["nano:student", "--image", "/no.png", "--prompt", "x"], "give a PNG or JPEG"),
        (["{folder}", "--prompt", "x"], "is no model and no run"),
        (["nano:studnt", "--prompt", "x"], "nano build"),
    ],
)
def test_what_cannot_be_opened_is_one_line(tmp_path, line, says, capsys) -> None:
    assert chat.main([part.format(folder=tmp_path) for part in line]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
