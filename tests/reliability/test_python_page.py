"""The page on runs from Python runs as printed, and so does the notebook that trains."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from whole_run import SMALL

ROOT = Path(__file__).parents[2]


def test_the_example_of_docs_python_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    skipped = ("run.", "data.", "rollout.new_prompts")
    small = [f'"{n}={v}"' for n, v in SMALL.items() if not n.startswith(skipped)]
    last = '"rollout.new_prompts=4"'
    assert last in example
    quick = example.replace(last, ", ".join([last, *small]))
    done = subprocess.run(
        [sys.executable, "-c", quick],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "'LLM'" in done.stdout
    assert "checkpoints/step-000002/student" in done.stdout
    assert "plain" in done.stdout


def test_the_notebook_that_trains_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells run here, in one process: a kernel would only import torch again."""
    text = (ROOT / "notebooks" / "train_in_ten_lines.ipynb").read_text(encoding="utf-8")
    code = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in code)
    small = SMALL | {"run.rollout_steps": 1, "rollout.new_prompts": 4, "evaluation.limit": 1}
    del small["data.train_questions"]  # the notebook has its own questions
    monkeypatch.setenv("ZPPO_SETS", ";".join(f"{n}={v}" for n, v in small.items()))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in code:
        exec("".join(cell["source"]), names)
    result, rows = names["result"], names["rows"]
    assert set(result.accuracy) == {"LLM"}
    assert len(result.weight_hash) == 64
    assert {kind for kind, _ in rows} >= {"plain"}


def test_the_quick_start_runs_in_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells run here; the run lies in the root, above the folder of the notebook."""
    text = (ROOT / "notebooks" / "quickstart.ipynb").read_text(encoding="utf-8")
    code = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in code)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setenv("ZPPO_SETS", ";".join(f"{n}={v}" for n, v in SMALL.items()))
    monkeypatch.chdir(tmp_path / "notebooks")
    names: dict[str, object] = {}
    for cell in code:
        exec("".join(cell["source"]), names)
    assert {"plain", "step"} <= set(names["curve"].columns)
    assert names["shown"]
    assert (tmp_path / "runs" / "quickstart" / "journal").is_dir()
    assert (tmp_path / "results" / "zppo.duckdb").is_file()
    assert list((tmp_path / "notebooks").iterdir()) == []
