"""Other Pythons: a line each, which takes the older one's place; one that is not here says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import pythons


def test_a_python_is_known_by_its_minor_version() -> None:
    assert pythons.minor(sys.executable) == "py{}{}".format(*sys.version_info)
    assert pythons.minor("false") is None  # a shim without a version behind it


def test_a_line_takes_the_place_of_the_same_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pythons, "RESULT", tmp_path / "pythons.txt")
    for line in ("Python 3.13.0 torch 2: 1 passed", "Python 3.12.1 x", "Python 3.13.2 torch 2: 2"):
        pythons.filed(line)
    assert pythons.RESULT.read_text() == "Python 3.12.1 x\nPython 3.13.2 torch 2: 2\n"


def test_a_python_that_is_not_here_is_a_line_and_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pythons.py", "python2.99", "false"])
    assert pythons.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said == ["python2.99: not on this machine", "false: not on this machine"]


def test_what_tests_and_setup_say_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = {"make": (2, ["no network"]), "-c": (0, ["3.12.1 torch 2"])}
    ending = 1, ["FAILED a::b", "1 failed, 4 passed in 5.00s"]

    def said(command: list[str], folder: Path) -> tuple[int, list[str]]:
        return failing.get(command[0]) or failing.get(command[1]) or ending

    monkeypatch.setattr(pythons, "said", said)
    monkeypatch.setattr(pythons, "cloned", lambda folder: "abc1234")
    line, well = pythons.tried("python3.12", tmp_path, [])
    assert (line, well) == ("python3.12: make setup ended with 2: no network", False)
    failing["make"] = 0, []
    line, well = pythons.tried("python3.12", tmp_path, ["tests/core"])
    assert line.startswith("Python 3.12.1 torch 2: tests/core: 1 failed, 4 passed (set-up 0 s, ")
    assert line.endswith(", abc1234)")
    assert not well
    assert "FAILED a::b" in capsys.readouterr().out
