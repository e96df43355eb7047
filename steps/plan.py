"""`zppo plan`: the configuration that a run would have, as TOML that `--config` reads back.

A value that is not the schema's default says where it comes from: the preset, the layout, the
file, or the command line. Nothing is started. With --estimate comments below it say what the run
takes at most: GPUs and their memory, tokens, FLOPs and disk. With --hours they say how long it
takes on this machine, by a run on record or by a short trial.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from eval.report.plan_estimate import estimated, lines
from steps.early import parse
from steps.machine import workers
from zppo_core.config.overrides import OPTIONS
from zppo_core.config.plan import plan_text
from zppo_core.processes.command_line import command, reported

_HELP = {"scale": "4B, or 4B@one-gpu for that layout", "config": "a TOML of your own"}


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan; 0, or 2 with a line for each fault."""
    example = "zppo plan --scale 4B@one-gpu --set optimizer.lr=2e-6 > my.toml"
    reader = command("plan", __doc__ or "", example)
    for name in ("scale", "config", *OPTIONS):
        explanation = _HELP.get(name) or f"as --set {OPTIONS[name]}="
        reader.add_argument(f"--{name}", help=explanation, default=argparse.SUPPRESS)
    reader.add_argument(
        "--set", action="append", metavar="SECTION.FIELD=VALUE", default=argparse.SUPPRESS
    )
    reader.add_argument("--estimate", action="store_true", help="memory, tokens, FLOPs and disk")
    reader.add_argument("--hours", action="store_true", help="how long it takes on this machine")
    reader.add_argument("--methods", default="", help="with --hours: those of a sweep")
    reader.add_argument("--seeds", default="", help="with --hours: those of a sweep")
    reader.add_argument("--json", action="store_true", help="the estimate as one JSON object")
    given = reader.parse_args(arguments)
    shown, hours = (given.estimate, given.json), (given.hours, given.methods, given.seeds)
    for name in ("estimate", "json", "hours", "methods", "seeds"):
        delattr(given, name)
    argv = ["run"]
    for name, value in vars(given).items():
        argv += [f"--{name}={text}" for text in (value if isinstance(value, list) else [value])]
    resolved = parse(argv).resolved
    if shown[1]:
        print(json.dumps(asdict(estimated(resolved.config))))
        return 0
    print(plan_text(resolved), end="")
    if shown[0]:
        print("\n".join(["", *lines(estimated(resolved.config))]))
    if hours[0]:
        from eval.report.hours import told  # torch: most plans measure nothing

        here = workers(parse(argv), elsewhere=False)
        print("\n".join(["", *told(resolved.config, here, *hours[1:])]))
    return 0
