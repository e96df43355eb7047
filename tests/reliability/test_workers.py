"""A run whose work is shared among workers: the same for any number of them, killed or not."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zppo_core.run import sharing

SCRIPT = Path(__file__).with_name("crew_run.py")


def lines(python: str, folder: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What a Python of its own says, which has made no gradient yet: JSON, and the rest."""
    done = subprocess.run(
        [python, str(SCRIPT), str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    output = done.stdout.splitlines()
    return [json.loads(line) for line in output if line.startswith("{")], done.stdout


def test_any_number_of_workers_gives_the_same_weights_and_journal(
    tmp_path: Path, warm_python: str
) -> None:
    said, output = lines(warm_python, tmp_path, "numbers")
    assert [line["workers"] for line in said] == [3, 2, "half", "1", "late"]
    first = said[0]["digests"]
    assert any(name.startswith("journal/step-000002/update/") for name in first)
    assert "model.safetensors" in first
    for line in said[1:]:
        other = line["digests"]
        different = [n for n in {*first, *other} if first.get(n) != other.get(n)]
        assert not different, line["workers"]
    assert output.count("workers: 3 processes of one thread (compute.workers)") == 2  # tasks
    fault = "(UserError: this Python has made gradients before)"
    assert output.count(f"workers: none, one process does it all {fault}") == 2
    told = said[0]["progress"]["plain"]
    assert len({done for done, _ in told}) >= 4  # more than its end
    assert all(0 < done <= total for done, total in told)


@pytest.mark.parametrize("phase", ["rollouts", "update"])
def test_a_run_whose_worker_is_killed_goes_on_and_ends_bit_for_bit_the_same(
    tmp_path: Path, phase: str, warm_python: str
) -> None:
    (fault, resumed, whole), _ = lines(warm_python, tmp_path, "kill", phase)
    line = fault["fault"]
    assert len(line.splitlines()) == 1
    assert " of this run was killed by SIGKILL (out of memory?); `resume` goes on from " in line
    assert fault["step"] >= 1
    assert resumed == whole


def test_an_evaluation_shared_among_workers_has_the_same_answers(
    tmp_path: Path, warm_python: str
) -> None:
    (shared, alone), _ = lines(warm_python, tmp_path, "evaluate")
    assert (shared["here"], shared["processes"]) == (False, 2)
    assert (alone["here"], alone["processes"]) == (True, 1)
    assert len([name for name in shared["digests"] if name.endswith("eval_samples.parquet")]) >= 6
    assert shared["digests"] == alone["digests"]


def test_a_student_too_large_for_workers_is_left_to_threads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its gradients would fill the memory. The number of workers is no matter: bits hang on it."""
    from zppo_core import models
    from zppo_core.config import load

    weights = 4 * models.shape("nano:student")[0] / 1e6
    just, under = math.ceil(16 * weights), math.floor(16 * weights)
    for workers in (1, 2, 9):
        sets = [f"compute.workers={workers}"]
        enough = load("nano", [*sets, f"compute.memory_mb={just}"])
        assert sharing.fitting(enough) == enough
        assert capsys.readouterr().out == ""
        short = load("nano", [*sets, f"compute.memory_mb={under}"])
        assert sharing.fitting(short).compute.workers == 0
        assert sharing.crew_for(short, {}) is None  # its evaluation neither
        assert f"workers: none for weights of {weights:.0f} MB" in capsys.readouterr().out
