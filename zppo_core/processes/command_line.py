"""What all commands share: a parser whose help has an example, and faults as one line each."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Protocol

from zppo_core.errors import UserError, complain


class Main(Protocol):
    """A command: its arguments (those of the process if None), and its exit code."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int: ...


def command(name: str, text: str, example: str) -> argparse.ArgumentParser:
    """A parser for `zppo NAME`; its help ends with the example, a whole command line.

    `about` is shown as it is written; its first line is the summary.
    """
    return argparse.ArgumentParser(
        prog=f"zppo {name}",
        description=text,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def reported(main: Main) -> Main:
    """`main` with its faults on the standard error, a line each, and exit code 2 for them."""

    @functools.wraps(main)
    def wrapped(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except UserError as fault:
            complain(fault)
            return 2

    return wrapped
