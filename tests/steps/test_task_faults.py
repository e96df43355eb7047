"""A fault that a user can mend is a task's last line, and nothing else is printed beside it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zppo_core.processes import startup

ROOT = Path(__file__).parents[2]
FLOW = """
from zppo_core.processes.startup import prepare_environment

prepare_environment()
from metaflow import FlowSpec, step
from steps.faults import one_line
from zppo_core.errors import UserError
from zppo_core.store.objects import DamagedObjectError


class Failing(FlowSpec):
    @one_line
    @step
    def start(self):
        import os
        if not os.environ.get("MENDED"):
            raise FAULT("the disk of /runs is full; free some space, then resume")
        self.next(self.end)

    @one_line
    @step
    def end(self):
        print("all is well")


if __name__ == "__main__":
    Failing()
"""


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"METAFLOW_USER": "zppo", "PYTHONPATH": str(ROOT)} | more
    return subprocess.run(
        [sys.executable, "failing.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("kind", ["UserError", "DamagedObjectError"])
def test_a_user_error_in_a_task_is_its_last_line_and_resume_goes_on(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "failing.py").write_text(FLOW.replace("FAULT", kind))
    failed = run(tmp_path, "run")
    assert failed.returncode == 1
    said = failed.stdout + failed.stderr
    assert "Traceback" not in said
    task = [line.partition(")] ")[2] for line in said.splitlines() if "/start/1 (pid" in line]
    spoken = [line for line in task if line.strip()]
    assert spoken[-2:] == [
        "the disk of /runs is full; free some space, then resume",
        "Task failed.",
    ]
    assert len(spoken) <= 5
    mended = run(tmp_path, "resume", MENDED="1")
    assert mended.returncode == 0
    assert "all is well" in mended.stdout + mended.stderr


def test_of_what_python_cannot_raise_only_late_archives_are_left_out(monkeypatch) -> None:
    heard: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    for _ in range(2):  # once more changes nothing
        startup.quiet_archives()
    closed, other = ValueError("I/O operation on closed file."), OSError("the disk is full")
    late = SimpleNamespace(object=gzip.GzipFile(fileobj=io.BytesIO(), mode="w"), exc_value=closed)
    told = [
        SimpleNamespace(object=late.object, exc_value=other),
        SimpleNamespace(object=io.BytesIO(), exc_value=closed),
    ]
    for what in (late, *told):
        sys.unraisablehook(what)
    assert heard == told


def test_a_process_that_read_the_database_ends_without_a_word(tmp_path: Path) -> None:
    code = (
        "from zppo_core.processes.startup import hurry; hurry()\n"
        "import duckdb, pandas\n"
        "c = duckdb.connect('d.duckdb'); c.execute('CREATE TABLE t AS SELECT 1 AS x')\n"
        "print(c.execute('SELECT * FROM t').df().shape, c.sql('SELECT 1').fetchall())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == "(1, 1) [(1,)]\n"
