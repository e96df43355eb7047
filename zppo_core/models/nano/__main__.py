"""Builds the shipped checkpoints: zppo nano build --out DIR, zppo nano zone --out DIR"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from zppo_core.errors import UserError, suggestion
from zppo_core.processes.command_line import command, reported


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo nano`; 0, or 2 with a line for each fault."""
    parser = command("nano", __doc__ or "", "zppo nano build --out nano-weights")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser(
        "build",
        help="train student and teacher from a fixed seed",
        epilog="example: zppo nano build --out nano-weights",
    )
    build.add_argument("--out", type=Path, required=True)
    build.add_argument("--clean-steps", type=int, default=None, help="a shorter clean phase")
    build.add_argument("--student-steps", type=int, default=None, help="a shorter student phase")
    zone = commands.add_parser(
        "zone",
        help="train those of the world with kinds out of reach; they begin with nano:teacher",
        epilog="example: zppo nano zone --out zone-weights",
    )
    zone.add_argument("--out", type=Path, required=True)
    zone.add_argument("--only", default="", help="names with commas; all without it")
    options = parser.parse_args(arguments)
    if options.command == "zone":
        from zppo_core.models.nano.zone import NAMES, build_zone

        names = tuple(options.only.split(",")) if options.only else NAMES
        if unknown := [name for name in names if name not in NAMES]:
            raise UserError(f"--only {unknown[0]}: {suggestion(unknown[0], NAMES)}")
        build_zone(options.out, names)
        return 0

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
