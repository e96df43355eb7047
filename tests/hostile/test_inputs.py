"""What a corpus, a template, a name or a configuration may hold."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from cases import Case, data_of, failures, read, spelled
from PIL import ImageFile
from whole_run import database_journal

from eval.harness import Part
from eval.report.connection import open_database, query
from eval.report.database import ingest
from eval.scores import part_unit, whole_unit
from zppo_core.config import load
from zppo_core.data.pixels import ANY_SIZE, Bounds, picture_size, read_picture
from zppo_core.data.table import read_table
from zppo_core.errors import UserError
from zppo_core.records.schema import encode
from zppo_core.run.names import check_name
from zppo_core.run.preflight import check_own
from zppo_core.store.base import check_key
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore
from zppo_core.types import whole_characters


def one_line(error: Exception) -> str:
    """What is amiss with a message for a user."""
    text = str(error)
    return "" if len(text.splitlines()) == 1 and len(text) < 600 else f"not one line: {text[:300]}"


def test_each_table_is_read_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(case: Case) -> str:
        path = tmp_path / case["file"]
        path.write_bytes(data_of(case))
        try:
            golds = [q.gold for q in read_table(str(path), {})[0]]
        except UserError as error:
            if "golds" in case or case["says"] not in str(error):
                return f"refused: {error}"
            return one_line(error)
        return "" if golds == case.get("golds") else f"read as {str(golds)[:200]}"

    monkeypatch.chdir(tmp_path)
    assert not failures("tables", outcome)
    assert not (tmp_path / "pwned").exists()


def test_each_picture_is_read_or_refused_and_costs_no_more_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Pillow's own default: scorers that other tests import allow cut pictures in the whole process
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)

    def outcome(case: Case) -> str:
        data, said = data_of(case), set()
        for reader in (
            lambda d: read_picture(d).size,
            picture_size,
            ANY_SIZE.scaled,
            Bounds(0, 64).scaled,
        ):
            try:
                reader(data)
                said.add("read")
            except (OSError, ValueError):
                said.add("refused")
        if case["outcome"] == "refused":  # a size may be known of what cannot be decoded
            return "" if "refused" in said else "read"
        return "" if said <= set(case["outcome"].split("|")) else f"{said}"

    assert not failures("pictures", outcome)


def test_each_name_of_a_run_is_taken_or_refused_in_one_line() -> None:
    def outcome(case: Case) -> str:
        try:
            check_name(case["name"])
        except UserError as error:
            return one_line(error) or ("" if case["outcome"] == "refused" else str(error))
        return "" if case["outcome"] == "taken" else "taken"

    assert not failures("names", outcome)


def test_an_id_of_a_question_comes_back_and_a_name_of_a_model_is_a_safe_key(tmp_path: Path) -> None:
    """Through journal and database; a model's name through the key of its scores."""
    ids = [whole_characters(spelled(case["id"])) for case in read("ids")]
    events = [EVENT | {"question_id": given} for given in ids]
    journal = Journal(LocalStore(tmp_path), "x")
    journal.commit("step-000000/update", {"buffer_events.parquet": encode("buffer_events", events)})
    journal.commit("run", {"runs.parquet": (database_journal("a", 0).read("run") or {})[RUNS]})
    ingest(journal, "a", str(tmp_path / "db.duckdb"))
    with open_database(str(tmp_path / "db.duckdb")) as connection:
        kept = [row[0] for row in query(connection, "SELECT question_id FROM buffer_events")]
    assert sorted(kept) == sorted(ids)

    def outcome(case: Case) -> str:
        given = whole_characters(spelled(case["id"]))
        name = given or "a model has a name"
        for unit in (whole_unit(name, "MMLU"), part_unit(name, "MMLU", Part(1, 3))):
            if check_key(unit) != unit or unquote(unit.split("/")[1]) != name:
                return f"key {unit!r}"
        return ""

    assert not failures("ids", outcome)


RUNS = "runs.parquet"
EVENT = {"run_key": "a", "step": 0, "event": "admit", "accuracy": 0.5, "entry_accuracy": 0.5}
EVENT |= {"entry_step": 0, "visits": 1, "replayed": False}


def test_each_faulty_template_is_one_line_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zppo_core.run.preflight.RENDER_SECONDS", 1.0)

    def outcome(case: Case) -> str:
        path = tmp_path / f"{case['name']}.jinja"
        path.write_text(case["text"])
        try:
            check_own(load("nano", [f"data.prompts={tmp_path}"]))
        except UserError as error:
            return one_line(error) or ("" if case["says"] in str(error) else f"says {error}")
        finally:
            path.unlink()
        return "taken"

    assert not failures("templates", outcome)


@pytest.mark.filterwarnings("ignore")
def test_each_odd_setting_is_refused_and_named() -> None:
    def outcome(case: Case) -> str:
        try:
            load("nano", [spelled(case["set"])])
        except UserError as error:
            says = spelled(case["says"])
            return one_line(error) or ("" if says in str(error) else f"says {error}")
        return "taken"

    assert not failures("configuration", outcome)
