"""What a run takes at most: GPU memory, tokens, FLOPs and disk, by shapes and settings."""

from __future__ import annotations

from dataclasses import dataclass

from eval.report.cost import PAPER_STEPS, plan
from zppo_core.config import Config
from zppo_core.models.memory import GIB, estimate, shapes


@dataclass(frozen=True)
class RunEstimate:
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


def estimated(config: Config) -> RunEstimate:
    """The bounds of `config` by shapes and settings alone; see `cost` for tokens."""
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
    return RunEstimate(
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


def lines(run: RunEstimate) -> list[str]:
    """The estimate as comments of TOML."""
    rows = [f"GPUs: {run.gpus} on each of {run.hosts} hosts" if run.gpus else "GPUs: none"]
    if run.student_gib is not None:
        rows.append(f"memory of a student's GPU: {run.student_gib:.0f} GiB")
    if run.teacher_gib:
        rows.append(f"memory of a teacher's GPU: {run.teacher_gib:.0f} GiB")
    for name, tokens in (run.tokens or {}).items():
        flops = (run.flops or {})[name]
        rows.append(f"{name}: {tokens:.1e} tokens, {flops:.1e} FLOPs at most")
    if run.checkpoints_gib is not None:
        rows.append(f"disk for checkpoints: {run.checkpoints_gib:.0f} GiB")
    rows.append(f"disk for the journal: {run.journal_gib:.2g} GiB at most")
    return [f"# {line}" for line in rows]
