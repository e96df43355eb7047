"""What travels to a remote task: all of our packages, and enough of them to run every step."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("steps", "eval", "zppo_core")


def python(
    folder: Path, *arguments: str, path: str = "", program: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment["PYTHONPATH"] = path
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote")
    archive = folder / "code.tgz"
    saved = python(folder, str(ROOT / "flows/zppo_flow.py"), "package", "save", str(archive))
    assert saved.returncode == 0, saved.stdout + saved.stderr
    shutil.unpack_archive(archive, folder / "task")  # ours; Python 3.11.2 has no filters yet
    return folder / "task"


def test_every_file_of_our_packages_travels(unpacked):
    for name in PACKAGES:
        here = {
            p.relative_to(ROOT).as_posix()
            for p in (ROOT / name).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        sent = {
            p.relative_to(unpacked / ".mf_code").as_posix()
            for p in (unpacked / ".mf_code" / name).rglob("*")
            if p.is_file()
        }
        assert sent == here, name


def test_a_run_from_the_unpacked_package_in_an_empty_folder_ends_well(unpacked, warm_python):
    code = str(unpacked / ".mf_code")
    where = python(
        unpacked,
        "-c",
        "import eval, steps, zppo_core as z; print(eval.__path__, steps.__path__, z.__path__)",
        path=code,
    )
    assert where.stdout.count(code) == 3
    small = (
        "run.rollout_steps=1",
        "data.train_questions=8",
        "rollout.new_prompts=4",
        "rollout.group_size=4",
        "rollout.max_tokens=24",
        "replay.ratio=0.5",
        "reformulation.ratio=0.5",
        "optimizer.updates=1",
        "evaluation.suite=nano_text",
        "evaluation.limit=4",
    )
    sets = [part for s in small for part in ("--set", s)]
    done = python(unpacked, "zppo_flow.py", "run", *sets, path=code, program=warm_python)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "Accuracy, percent" in done.stdout
    assert (unpacked / "results" / "zppo.duckdb").is_file()
