"""Every command that README and docs print is one that exists, with the options that it has."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from steps import cli
from zppo_core.config import Config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FLOWS = {"zppo_flow.py", "eval_flow.py", "sweep_flow.py"}
METAFLOW = frozenset(
    ("--with", "--max-workers", "--dry-run", "--set", "--max-cards", "--tag", "--max-num-splits")
)
ACTIONS = ("cache", "database", "judge", "audit")


def printed() -> list[tuple[str, str]]:
    """(page, command line) of every fenced block, comments and continuations resolved."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                bare = re.split(r"\s#\s", line)[0].strip()
                if re.match(r"zppo [a-z]|python3? flows/|python3? -m (eval|steps|zppo_core)", bare):
                    found.append((page.name, bare))
    return found


LINES = printed()


@lru_cache
def options(name: str, action: str = "") -> frozenset[str]:
    """The options of a subcommand by its own help, those of a flow by its file."""
    command = cli.COMMANDS[name]
    if ":" not in command.does:
        text = (ROOT / "flows" / command.does.split()[0]).read_text()
        return (
            frozenset(
                f"--{n}" for n in re.findall(r'(?:Parameter|IncludeFile)\(\s*"([\w-]+)"', text)
            )
            | METAFLOW
        )
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        cli.main([name, *([action] if action else []), "--help"])
    return frozenset(re.findall(r"--[a-z][\w-]*", said.getvalue()))


def test_pages_print_commands() -> None:
    assert len(LINES) > 50


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_printed_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(re.sub(r"<[^>]*>|[\[\]|]", " ", line))
    if words[:2] == ["python", "-m"] or words[:2] == ["python3", "-m"]:
        assert (ROOT / (words[2].replace(".", "/") + ".py")).exists() or (
            ROOT / words[2].replace(".", "/") / "__main__.py"
        ).exists()
        return
    if words[0] != "zppo":
        flow, command = Path(words[1]), words[2]
        assert flow.name in FLOWS
        wanted = f"{flow.name} {'run' if command == 'resume' else command}"
        name = next((n for n, c in cli.COMMANDS.items() if c.does == wanted), "run")
        words = ["zppo", name, *words[3:]]
    _, name, *rest = words
    assert name in cli.COMMANDS
    given = {w.partition("=")[0] for w in rest if w.startswith("--")}
    action = (
        rest[0]
        if name in ("cache", "database", "judge", "audit") and rest and rest[0].isalpha()
        else ""
    )
    assert given <= options(name, action), given - options(name, action)


def test_every_setting_that_a_page_sets_is_a_field() -> None:
    fields = {f"{s}.{f}" for s, v in Config().to_dict().items() if isinstance(v, dict) for f in v}
    for page, line in LINES:
        for field in re.findall(r"--set[ =]'?\"?([a-z_]+\.[a-z_]+)=", line):
            assert field in fields, (page, field)


@pytest.mark.parametrize("flow", sorted(FLOWS))
def test_a_python_without_the_packages_is_told_which_one_to_use(flow: str) -> None:
    said = subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "flows" / flow), "run"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert said.returncode == 2
    assert said.stderr.startswith("zppo: this Python")
    assert ".venv/bin/python" in said.stderr
    assert len(said.stderr.splitlines()) == 1
