"""One command line: every subcommand is there, explains itself, and unknown ones are guessed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steps import cli
from zppo_core.config import Source, load
from zppo_core.config.load import resolved

ROOT = Path(__file__).parents[2]
FLOWS = {name for name, command in cli.COMMANDS.items() if ":" not in command.does}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of flows that would have been started."""
    lines: list[list[str]] = []

    def note(program: str, line: list[str]) -> None:
        lines.append(line)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", note)
    return lines


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_help_has_an_example_of_its_own_command(name, started, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"example: zppo {name}" in capsys.readouterr().out.replace("\n", " ")
    assert bool(started) == (name in FLOWS)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_a_flow_is_started_by_its_file_with_the_arguments_as_they_are(name, started) -> None:
    with pytest.raises(SystemExit):
        cli.main([name, "--set", "a.b=1; c", "x y"])
    ((python, flow, command, *rest),) = started
    assert python == sys.executable
    assert Path(flow).is_file()
    assert [Path(flow).name, command] == cli.COMMANDS[name].does.split()
    assert rest == ["--set", "a.b=1; c", "x y"]


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("tabel", "did you mean zppo table?"),
        ("xylophone", "it is one of zppo run, "),
        ("RUN", "run?"),
    ],
)
def test_an_unknown_command_is_one_line_with_the_nearest(wrong, remedy, capsys) -> None:
    assert cli.main([wrong]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"zppo: unknown command {wrong!r}; ")
    assert remedy in said
    assert len(said.splitlines()) == 1


def test_every_main_of_the_product_is_a_subcommand() -> None:
    named = {command.does.partition(":")[0] for command in cli.COMMANDS.values()}
    others = {
        "steps.cli",  # itself
    }
    mains = set()
    for top in ("zppo_core", "eval", "steps"):
        for path in (ROOT / top).rglob("*.py"):
            tree = ast.parse(path.read_text())
            if any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree.body):
                mains.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert mains - named == others


@pytest.mark.parametrize(
    "name", ["audit", "compare", "cost", "database", "evidence", "figures", "judge", "tables"]
)
def test_the_old_names_are_thin_and_call_the_same_function(name: str) -> None:
    text = (ROOT / "eval" / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 10
    module = cli.COMMANDS[name].does.partition(":")[0]
    assert f"from {module} import main\n" in text


def test_the_help_of_all_commands_is_quick() -> None:
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "steps.cli"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("usage: zppo COMMAND")
    for heavy in ("torch", "metaflow", "duckdb", "pydantic"):
        assert f" {heavy}\n" not in said.stderr


def test_a_plan_is_the_configuration_of_the_run_that_the_same_options_start(capsys) -> None:
    line = ["--scale", "4B@one-gpu", "--seed", "3", "--set", "optimizer.betas=[0.8, 0.9]"]
    assert cli.main(["plan", *line, "--set=rollout.group_size=4"]) == 0
    said = capsys.readouterr().out
    sets = ["run.seed=3", "optimizer.betas=0.8,0.9", "rollout.group_size=4"]
    assert resolved("", (), Source("plan", said)).config == load("4B@one-gpu", sets)
    assert "group_size = 4  # --set" in said
    assert cli.main(["plan", "--set", "optimizer.lr=x", "--set", "replay.ratio=-1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_table_by_its_number_is_the_table(tmp_path, capsys) -> None:
    database = str(tmp_path / "none.duckdb")
    faults = []
    for line in (["table", "3"], ["tables", "--table", "3"]):
        assert cli.main([*line, "--database", database]) == 2
        faults.append(capsys.readouterr().err)
    assert faults[0] == faults[1]
    assert faults[0].startswith("zppo: ")
