"""The page on runs from Python runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

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
