"""Builds both shipped checkpoints: zppo nano build --out DIR"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from zppo_core.processes.command_line import command, reported


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo nano`; 0, or 2 with a line for each fault."""
    parser = command("nano", __doc__ or "", "zppo nano build --out nano-weights")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser(
        "build",
        help="train both checkpoints from a fixed seed",
        epilog="example: zppo nano build --out nano-weights",
    )
    build.add_argument("--out", type=Path, required=True)
    build.add_argument("--clean-steps", type=int, default=None, help="a shorter clean phase")
    build.add_argument("--student-steps", type=int, default=None, help="a shorter student phase")
    options = parser.parse_args(arguments)

    from zppo_core.models.nano.sft import Recipe, build_checkpoints

    recipe = Recipe()
    build_checkpoints(
        options.out,
        Recipe(
            clean_steps=options.clean_steps or recipe.clean_steps,
            student_steps=options.student_steps or recipe.student_steps,
        ),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
