"""`tools/commands.py --again`: what failed is typed again, and its lines are replaced."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import commands

PAGES = [
    ("a.md", "zppo doctor"),
    ("a.md", "zppo run"),
    ("b.md", "zppo run --method grpo"),
    ("b.md", "zppo resume"),
]
LINES = [
    "ok, 41.0 s: zppo run --name first  [beforehand]",
    "ok, 1.7 s: zppo doctor  [a.md]",
    f"ok, 30.0 s: zppo run{commands.SHORT}  [a.md]",
    f"FAILED 2 (zppo: no such method), 0.4 s: zppo run --method grop{commands.SHORT}  [b.md]",
    "not typed (needs a run that failed): zppo resume  [b.md]",
]


def test_what_has_no_sound_line_is_typed_again() -> None:
    assert commands.unsound(PAGES, LINES, False) == [("b.md", "zppo run --method grpo")]
    with pytest.raises(ValueError, match="type all commands"):
        commands.unsound([*PAGES, ("c.md", "zppo runs")], LINES, False)


def test_its_line_takes_the_place_of_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "RESULT", tmp_path / "commands.txt")
    commands.filed("# day one", LINES, False)
    commands.filed("# day two", ["ok, 9.0 s: b"], True)
    head, *lines = commands.RESULT.read_text().splitlines()
    assert head == "# day one; what had failed again: day two"
    assert lines == [*LINES[:3], "ok, 9.0 s: b", LINES[4]]
