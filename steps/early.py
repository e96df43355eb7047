"""What must be known before Metaflow parses the command line: `@resources` is fixed by then.

Only our own options are read here, and only to look the configuration up; Metaflow's parser
takes the same command line after us and refuses what it does not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from zppo_core.config import SCALES, Config, Source
from zppo_core.config.load import Resolved, resolved, scale_named, scale_of
from zppo_core.config.overrides import OPTIONS, named, split_overrides
from zppo_core.errors import UserError

_OTHERS = ("scale", "scales", "name", "config", "origin-run-id", "max-workers")


class _Reader(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


@dataclass(frozen=True)
class Arguments:
    """Our options on a flow's command line, as text; "" where one is not given."""

    options: argparse.Namespace
    command: str  # run, resume, step, or "" for another of Metaflow's
    helps: bool
    default: str  # the flow's own scale
    resumed: Config | None = None  # of the run that `resume` goes on with

    @property
    def scale(self) -> str:
        """The scale that is named; of a sweep's, the one that wants most of a machine."""
        named = [self.options.scale, *map(str.strip, self.options.scales.split(","))]
        sizes = {name: i for i, name in enumerate(SCALES)}
        return max(filter(None, named), key=lambda name: sizes.get(name, -1), default="")

    @cached_property
    def resolved(self) -> Resolved:
        """The configuration with its origins; UserError names the faults and the fix."""
        if self.resumed is not None:
            return Resolved(self.resumed, {})
        o = self.options
        source = Source.at(o.config) if o.config else None
        given = named({option: vars(o)[option] for option in OPTIONS})
        scale = scale_named(self.scale, source) or self.default
        return resolved(scale, split_overrides(o.set), source, given)


def parse(argv: Sequence[str], scale: str = "") -> Arguments:
    """Read our options from `argv` (without the program's name); UserError if one lacks its value.

    `scale` is the flow's own default.
    """
    reader = _Reader(add_help=False, allow_abbrev=False)
    for name in (*OPTIONS, *_OTHERS):
        reader.add_argument(f"--{name}", default="")
    reader.add_argument("--set", action="append", default=[])
    reader.add_argument("--with", dest="decorators", action="append", default=[])
    reader.add_argument("--dry-run", action="store_true")
    options, rest = reader.parse_known_args(argv)
    command = next((a for a in rest if a in ("run", "resume", "step", "spin-step")), "")
    if options.model:
        options.judge = options.judge or "none"
    default = scale or scale_of(options.model)
    return Arguments(options, command, bool({"--help", "-h"} & set(rest)), default)
