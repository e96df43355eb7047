"""The `zppo` command: everything that this project does from a shell, by subcommands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from steps.commands import COMMANDS, Command
from zppo_core.errors import UserError, suggestion
from zppo_core.processes.command_line import Main, reported

FLOWS = Path(__file__).resolve().parents[1] / "flows"


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit code, or 2 with a line for each fault."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *rest = given
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}; {suggestion(name, COMMANDS, _shown)}")
    called = COMMANDS[name]
    module, colon, function = called.does.partition(":")
    if not colon:
        return start_flow(called, rest)
    run: Main = getattr(import_module(module), function)
    return run(rest)


def overview() -> str:
    """The subcommands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: zppo COMMAND ...",
            "",
            *lines,
            "",
            "zppo COMMAND --help says more",
            "example: zppo run --scale nano",
        ]
    )


def start_flow(called: Command, rest: Sequence[str]) -> int:
    """Become the flow's process, so that signals and the exit code are its own."""
    file, command = called.does.split()
    if {"-h", "--help"} & set(rest):
        print(f"zppo: {called.summary}\nexample: {called.example}\n", flush=True)
    os.execv(sys.executable, [sys.executable, str(FLOWS / file), command, *rest])


def _shown(name: str) -> str:
    return f"zppo {name}"


if __name__ == "__main__":
    sys.exit(main())
