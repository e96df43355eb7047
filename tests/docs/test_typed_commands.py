"""The cheap commands of the pages are typed as printed; of the others it is said what is done."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("commands", ROOT / "tools" / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
PRINTED = [command for _, command in TOOL.printed()]
CHEAP = [c for c in PRINTED if TOOL.CHEAP.match(c) and not TOOL.typed(c, TOOL.VALUES)[1]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell's, with the commands that the installation makes."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "zppo"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m steps.cli "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("command", CHEAP)
def test_a_cheap_command_runs_as_printed(
    command: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_many_commands_are_typed_and_the_others_have_a_reason() -> None:
    why = {c: TOOL.typed(c, TOOL.VALUES)[1] for c in PRINTED}
    assert len(CHEAP) >= 4
    assert sum(not w for w in why.values()) >= 25
    assert all(w in TOOL.NOT_HERE.values() for w in why.values() if w)


def test_placeholders_become_the_run_that_comes_first() -> None:
    assert TOOL.typed("zppo verify KEY", TOOL.VALUES) == ("zppo verify first", "")
    assert TOOL.typed("zppo compare RUN_A RUN_B", TOOL.VALUES)[0] == "zppo compare first second"
    assert TOOL.typed("zppo run --scale 4B", TOOL.VALUES)[1] == "a scale that needs GPUs"
    assert TOOL.typed("zppo run --scale nano", TOOL.VALUES)[1] == ""


def test_the_record_of_the_last_try_names_no_failure() -> None:
    record = TOOL.RESULT.read_text(encoding="utf-8").splitlines()
    assert record[0].startswith("# 20")
    assert not [line for line in record if line.startswith("FAILED")]
    assert len(record) > 20
