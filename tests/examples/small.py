"""What makes an example small enough for a test."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDENT = ROOT / "zppo_core" / "models" / "nano" / "weights" / "student"
TEACHER = STUDENT.parent / "teacher"
SETS = {
    "run.rollout_steps": 1,
    "rollout.new_prompts": 4,
    "rollout.group_size": 4,
    "rollout.max_tokens": 16,
    "reformulation.ratio": 0.5,
    "optimizer.updates": 1,
    "teacher.prefill": 0,
    "evaluation.suite": "nano_text",
    "evaluation.limit": 2,
    "evaluation.max_tokens": 16,
    "compute.threads": 1,
}


def sets(**more: object) -> list[str]:
    """Settings of a tiny run, each as --set SECTION.FIELD=VALUE; `section__field` adds others."""
    values = SETS | {name.replace("__", "."): value for name, value in more.items()}
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
