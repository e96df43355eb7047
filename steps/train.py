"""`zppo train`: the run of `zppo run` in one process, without Metaflow, its cards and its tasks.

Data, teacher draws, rollout steps, evaluation and database are the same, so are weights and scores.
With a --name it goes on where it was. It starts sooner than the flow and has one log.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.report.summary import summary_text
from zppo_core.config import Source
from zppo_core.config.overrides import resolve, split_overrides
from zppo_core.processes.command_line import command, reported
from zppo_core.processes.startup import hurry, prepare_environment


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and file a run, then print its summary; 0, or 2 with a line for a fault."""
    reader = command("train", __doc__ or "", "zppo train --scale nano --seed 1 --name first")
    reader.add_argument("--scale", default="", help="4B, or 4B@one-gpu for that layout; nano")
    reader.add_argument("--config", default="", help="a TOML of your own")
    reader.add_argument("--method", default="", help="as --set run.method=")
    reader.add_argument("--seed", default="", help="as --set run.seed=")
    reader.add_argument("--name", default="", help="names the run; the same name goes on")
    reader.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    given = reader.parse_args(arguments)
    hurry()
    prepare_environment()
    source = Source.at(given.config) if given.config else None
    config = resolve(given.scale, given.method, given.seed, split_overrides(given.set), source)
    from eval.pipeline import train  # torch: a faulty configuration needs none

    print(summary_text(train(config, name=given.name).summary))
    return 0
