"""`zppo plan`: the configuration that a run would have, as TOML that `--config` reads back.

A value that is not the schema's default says where it comes from: the preset, the layout, the
file, or the command line. Nothing is started. With --estimate comments below it say what the run
takes at most: GPUs and their memory, tokens, FLOPs and disk.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from steps.early import parse
from zppo_core.config import Config
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
        about = _HELP.get(name) or f"as --set {OPTIONS[name]}="
        reader.add_argument(f"--{name}", help=about, default=argparse.SUPPRESS)
    reader.add_argument(
        "--set", action="append", metavar="SECTION.FIELD=VALUE", default=argparse.SUPPRESS
    )
    reader.add_argument("--estimate", action="store_true", help="memory, tokens, FLOPs and disk")
    reader.add_argument("--json", action="store_true", help="the estimate as one JSON object")
    given = reader.parse_args(arguments)
    shown = given.estimate, given.json
    del given.estimate, given.json
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
    return 0


@dataclass(frozen=True)
class Estimate:
    """What a run takes at most; None where the size of its models is not known (nano)."""

    gpus: int  # of a host
    hosts: int
    student_gib: float | None  # of a student's GPU
    teacher_gib: float | None
    rollout_steps: int  # 0: one pass over the corpus, of which the account takes the paper's
    tokens: dict[str, float] | None  # by activity
    flops: dict[str, float] | None
    checkpoints_gib: float | None
    journal_gib: float


def estimated(config: Config) -> Estimate:
    """The bounds of `config` by shapes and settings alone; see eval.report.cost for tokens."""
    from eval.report.cost import PAPER_STEPS, plan
    from zppo_core.models.memory import GIB, estimate, shapes

    c, shape = config.compute, shapes().get(config.student.model)
    memory = estimate(config)
    teacher = shapes().get(config.teacher.model)
    cost = (
        None
        if shape is None
        else plan(config, shape.params, *((teacher.params,) if teacher else ()))
    )
    kept = None
    if shape is not None:
        state = 8 if config.optimizer.moments == "bfloat16" else 12
        width = 2 if config.student.dtype == "bfloat16" else 4
        # one more than are kept is written before the oldest goes
        kept = shape.params * (width + state) * (config.store.keep_checkpoints + 1) / GIB
    steps, r = config.run.rollout_steps or PAPER_STEPS, config.rollout
    prompts = r.new_prompts * (1 + config.replay.ratio + config.reformulation.ratio)
    # of a response's token: its id, its log-probability, and some four characters of text
    written = steps * prompts * r.group_size * r.max_tokens * 12 / GIB
    return Estimate(
        c.student_gpus + c.teacher_gpus,
        c.update_hosts,
        None if memory is None else memory.student_gib,
        None if memory is None else memory.teacher_gib,
        config.run.rollout_steps,
        None if cost is None else cost.tokens,
        None if cost is None else cost.flops,
        kept,
        written,
    )


def lines(found: Estimate) -> list[str]:
    """The estimate as comments of TOML."""
    said = [f"GPUs: {found.gpus} on each of {found.hosts} hosts" if found.gpus else "GPUs: none"]
    if found.student_gib is not None:
        said.append(f"memory of a student's GPU: {found.student_gib:.0f} GiB")
    if found.teacher_gib:
        said.append(f"memory of a teacher's GPU: {found.teacher_gib:.0f} GiB")
    for name, tokens in (found.tokens or {}).items():
        flops = (found.flops or {})[name]
        said.append(f"{name}: {tokens:.1e} tokens, {flops:.1e} FLOPs at most")
    if found.checkpoints_gib is not None:
        said.append(f"disk for checkpoints: {found.checkpoints_gib:.0f} GiB")
    said.append(f"disk for the journal: {found.journal_gib:.2g} GiB at most")
    return [f"# {line}" for line in said]
