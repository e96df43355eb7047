"""The notebooks run from the database alone, and carry no outputs into the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from eval.report.notebook import located
from zppo_core.errors import UserError

FOLDER = Path(__file__).parents[2] / "notebooks"
# those that train run in tests/reliability/test_python_page.py
TRAIN = ("train_in_ten_lines", "quickstart")
# reads what `zppo mechanism` left, and no database
FILES = "does_learning_reach_plain_prompts"
BOOKS = sorted(path for path in FOLDER.glob("*.ipynb") if path.stem not in (*TRAIN, FILES))


def test_there_is_a_notebook_for_each_question():
    assert [b.stem for b in BOOKS] == [
        "against_the_paper",
        "are_candidates_anonymous",
        "inside_the_zone",
        "what_did_it_cost",
        "what_did_the_run_learn",
    ]


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_something_in_every_cell(path, database_path, monkeypatch):
    book = nbformat.read(path, as_version=4)
    code = [c for c in book.cells if c.cell_type == "code"]
    assert all(c.outputs == [] and c.execution_count is None for c in code)
    monkeypatch.setenv("ZPPO_DATABASE", str(database_path))
    monkeypatch.setenv("ZPPO_RUN", "nano-zppo-s1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent)]))
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    shown = code[1:]  # the first names the database
    assert all(c.outputs for c in shown)
    kinds = [o.output_type for c in shown for o in c.outputs]
    assert "error" not in kinds
    for cell in (c for c in code if c.source.startswith("show(")):
        assert [o for o in cell.outputs if "image/png" in o.get("data", {})], cell.source


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_in_its_own_folder_too(path, database_path, tmp_path, monkeypatch):
    """Its cells run here, in one process; the database is that of the root, one folder up."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "zppo.duckdb").symlink_to(database_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.delenv("ZPPO_DATABASE", raising=False)
    monkeypatch.setenv("ZPPO_RUN", "nano-zppo-s1")
    names: dict[str, object] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
    assert names["DATABASE"] == str(tmp_path / "results" / "zppo.duckdb")


def test_a_notebook_without_a_database_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZPPO_DATABASE", raising=False)
    with pytest.raises(UserError, match="run `make run`, or set ZPPO_DATABASE"):
        located()


def test_model_text_is_never_markup_in_a_notebook():
    text = " ".join(b.read_text(encoding="utf-8") for b in BOOKS)
    assert "HTML(" not in text
    assert "Markdown(" not in text


@pytest.mark.parametrize("folder", [FOLDER, FOLDER.parent], ids=["its own folder", "the root"])
def test_the_notebook_of_the_mechanism_draws_the_files_that_are_committed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    cells = nbformat.read(FOLDER / f"{FILES}.ipynb", as_version=4).cells
    code = [c for c in cells if c.cell_type == "code"]
    assert all(c.outputs == [] for c in code)
    first, picture, tables = [c.source for c in code]
    exec(first, names)
    assert eval(picture, names)._repr_png_().startswith(b"\x89PNG")
    words = eval(tables, names).data
    committed = (FOLDER.parent / "benchmarks" / "results" / "mechanism").glob("*.json")
    assert all(f"`{json.loads(path.read_text())['method']}`" in words for path in committed)
