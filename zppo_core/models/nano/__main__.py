"""Builds both shipped checkpoints: python -m zppo_core.models.nano build --out DIR"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zppo_core.models.nano.build", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="train both checkpoints from a fixed seed")
    build.add_argument("--out", type=Path, required=True)
    build.add_argument("--clean-steps", type=int, default=None, help="a shorter clean phase")
    build.add_argument("--student-steps", type=int, default=None, help="a shorter student phase")
    arguments = parser.parse_args()

    from zppo_core.models.nano.sft import Recipe, build_checkpoints

    recipe = Recipe()
    build_checkpoints(
        arguments.out,
        Recipe(
            clean_steps=arguments.clean_steps or recipe.clean_steps,
            student_steps=arguments.student_steps or recipe.student_steps,
        ),
    )


if __name__ == "__main__":
    main()
