"""What a configuration must hold beyond its types: ranges, and fields that go together."""

from __future__ import annotations

from zppo_core.config.methods import METHODS
from zppo_core.config.schema import Config
from zppo_core.data.layouts import parse_columns, parse_format
from zppo_core.data.zppo77k.sources import parse_more
from zppo_core.errors import UserError, nearest


def validate(c: Config) -> None:
    """Raise UserError on the first rule that `c` breaks: it names the field and the remedy."""
    parse_more(c.data.more_configs)
    parse_columns(c.data.columns)
    layout = parse_format(c.data.format)
    if c.run.method not in METHODS:
        raise UserError(
            f"unknown method {c.run.method!r}; did you mean {nearest(c.run.method, METHODS)!r}?"
        )
    several = c.run.method == "zppo_teachers"
    rules = [
        (
            several == bool(c.teacher.more_models),
            "teacher.more_models belongs to method zppo_teachers: set both, like --method "
            "zppo_teachers --set teacher.more_models=<folder or hub id>",
        ),
        (c.run.rollout_steps >= 0, "run.rollout_steps must be >= 0 (0: one pass over the corpus)"),
        (
            c.data.min_pixels >= 0 <= c.data.max_pixels
            and (c.data.max_pixels == 0 or c.data.min_pixels <= c.data.max_pixels),
            "data.min_pixels must be >= 0 and at most data.max_pixels (0: no bound)",
        ),
        (bool(c.data.source.strip()), "data.source is empty; name digits, zppo77k or a table"),
        (
            not c.data.columns or layout in ("", "columns"),
            f"data.columns names the columns of data.format=columns, not of {layout}: unset one",
        ),
        (c.data.seed >= 0, "data.seed must be >= 0"),
        (c.data.reserve >= 1, "data.reserve must be >= 1: the cap itself"),
        (c.run.steps_per_task > 0, "run.steps_per_task must be >= 1"),
        (c.rollout.group_size > 1, "rollout.group_size must be >= 2: a group is its own baseline"),
        (c.rollout.new_prompts > 0, "rollout.new_prompts must be >= 1"),
        (c.rollout.max_tokens > 0, "rollout.max_tokens must be >= 1"),
        (
            c.rollout.temperature == 1.0 and c.rollout.top_p == 1.0,
            "rollout.temperature and rollout.top_p must be 1: the trainer's log-probabilities are "
            "of the untempered distribution",
        ),
        (c.teacher.rollouts > 0, "teacher.rollouts must be >= 1"),
        (c.teacher.concurrency > 0, "teacher.concurrency must be >= 1"),
        (
            not c.teacher.endpoint or c.teacher.endpoint.startswith(("http://", "https://")),
            "teacher.endpoint is an address, like http://host:8000/v1",
        ),
        (
            not c.teacher.endpoint or METHODS[c.run.method].loss == "surrogate",
            "distillation needs the teacher's weights; leave teacher.endpoint empty",
        ),
        (
            c.compute.teacher_tensor_parallel >= 0
            and c.compute.teacher_gpus % max(c.compute.teacher_tensor_parallel, 1) == 0,
            "compute.teacher_tensor_parallel must divide compute.teacher_gpus (0: all of them)",
        ),
        (0 < c.compute.engine_memory < 1, "compute.engine_memory is a share: between 0 and 1"),
        (0 <= c.teacher.prefill <= 1, "teacher.prefill is a share: between 0 and 1"),
        (c.replay.ratio >= 0, "replay.ratio must be >= 0"),
        (c.replay.capacity >= 0, "replay.capacity must be >= 0"),
        (0 < c.replay.threshold <= 1, "replay.threshold must be in (0, 1]"),
        (c.reformulation.ratio >= 0, "reformulation.ratio must be >= 0"),
        (c.reformulation.candidate_tokens > 0, "reformulation.candidate_tokens must be >= 1"),
        (0 < c.reformulation.prefix_share < 1, "reformulation.prefix_share must be in (0, 1)"),
        (c.advantage.eps > 0, "advantage.eps must be > 0"),
        (0 < c.loss.clip_low < 1, "loss.clip_low must be in (0, 1)"),
        (c.loss.clip_high > 0, "loss.clip_high must be > 0"),
        (c.loss.dual_clip > 1, "loss.dual_clip must be > 1"),
        (c.optimizer.lr > 0, "optimizer.lr must be > 0"),
        (c.optimizer.updates > 0, "optimizer.updates must be >= 1"),
        (c.trainer.token_budget > 0, "trainer.token_budget must be >= 1"),
        (c.compute.overlap > 0, "compute.overlap must be >= 1"),
        (
            c.compute.overlap == 1
            or c.compute.device == "cpu"
            or c.compute.teacher_gpus > 0
            or bool(c.teacher.endpoint),
            "compute.overlap needs a teacher beside the student; set compute.teacher_gpus or "
            "teacher.endpoint",
        ),
        (c.compute.zero_stage in (1, 2, 3), "compute.zero_stage is 1, 2 or 3"),
        (
            c.compute.update_hosts == 1
            or c.compute.rendezvous == "auto"
            or ":" in c.compute.rendezvous,
            "compute.rendezvous is where several hosts meet, like 10.0.0.1:29500, or auto",
        ),
        (c.trainer.lora_rank >= 0, "trainer.lora_rank must be >= 0"),
        (c.evaluation.shard > 0, "evaluation.shard must be >= 1"),
        (c.store.checkpoint_every > 0, "store.checkpoint_every must be >= 1"),
        (c.store.keep_checkpoints > 0, "store.keep_checkpoints must be >= 1"),
    ]
    for holds, message in rules:
        if not holds:
            raise UserError(message)
