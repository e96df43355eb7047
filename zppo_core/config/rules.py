"""What a configuration must hold beyond its fields: settings that go together."""

from __future__ import annotations

import re

from zppo_core.config.methods import find_method
from zppo_core.config.schema import Config, workers_asked
from zppo_core.data.layouts import parse_format
from zppo_core.errors import UserError
from zppo_core.extensions import is_outside


def validate(c: Config) -> None:
    """Raise UserError on the rules that `c` breaks, a line each: it names fields and remedy."""
    layout = parse_format(c.data.format)
    method = find_method(c.run.method)
    objective = method.objective
    several = c.run.method == "zppo_teachers"
    rules = [
        (
            c.compute.engine in ("hf", "vllm") or is_outside(c.compute.engine),
            f"compute.engine: {c.compute.engine!r} is not one of hf, vllm; one of your own is "
            "package.module:NAME",
        ),
        (
            several == bool(c.teacher.more_models),
            "teacher.more_models belongs to method zppo_teachers: set both, like --method "
            "zppo_teachers --set teacher.more_models=<folder or hub id>",
        ),
        (
            not objective.evidence
            or c.compute.update_processes == 1
            or (c.compute.update_processes == 0 and c.compute.student_gpus <= 1),
            f"{c.run.method} updates in one process: set compute.update_processes=1",
        ),
        (
            not method.anneals or c.run.rollout_steps > 0,
            f"{c.run.method} changes its prompts over the run: set run.rollout_steps",
        ),
        (
            c.data.max_pixels == 0 or c.data.min_pixels <= c.data.max_pixels,
            "data.min_pixels must be at most data.max_pixels (0: no bound)",
        ),
        (
            not c.data.columns or layout in ("", "columns"),
            f"data.columns names the columns of data.format=columns, not of {layout}: unset one",
        ),
        (
            not c.teacher.endpoint or not objective.teacher_weights,
            "distillation needs the teacher's weights; leave teacher.endpoint empty",
        ),
        (
            c.compute.teacher_gpus % max(c.compute.teacher_tensor_parallel, 1) == 0,
            "compute.teacher_tensor_parallel must divide compute.teacher_gpus (0: all of them)",
        ),
        (
            c.compute.staleness == 0 or c.loss.importance_cap > 0,
            "compute.staleness=1 needs importance weights; add --set loss.importance_cap=2",
        ),
        (
            c.compute.staleness == 0 or objective.learns_from == "advantages",
            "compute.staleness=1 is for methods that learn from advantages: distillation has no "
            "importance weights; leave it 0",
        ),
        (
            c.compute.staleness == 0
            or (method.sampling_rounds == 1 and not objective.demonstrations),
            f"{c.run.method} asks in rounds or learns from the teacher's tokens, which are not an "
            "update old: leave compute.staleness 0",
        ),
        (
            workers_asked(c) == 0 or c.compute.threads < 2,
            "compute.workers have one thread each: leave compute.threads 0, or set "
            "compute.workers=0",
        ),
        (
            c.compute.update_hosts == 1 or c.compute.ray != "",
            "compute.update_hosts needs a Ray of several nodes; set compute.ray to auto, or to "
            "its head's address like 10.0.0.1:6379",
        ),
        (
            c.compute.ray in ("", "auto") or bool(re.fullmatch(r"[^\s/]+:\d+", c.compute.ray)),
            "compute.ray is the address of a Ray's head like 10.0.0.1:6379, or auto",
        ),
    ]
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise UserError("\n".join(broken))
