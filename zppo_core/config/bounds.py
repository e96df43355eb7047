"""Between what ends each number of a configuration may lie."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

from zppo_core.config.schema import Config

# a bracket takes its end in, a parenthesis leaves it out; after a colon why it is so
WHOLE, COUNT = "[0, 2147483647]", "[1, 2147483647]"  # the database has 32 bits for counts
SEED = "[0, 9223372036854775807]: the database has 63 bits for it"
TOKENS = "[1, 1048576]"
BOUNDS = {
    "run.seed": SEED,
    "run.rollout_steps": "[0, 999999]: 0 is one pass over the corpus",
    "run.steps_per_task": COUNT,
    "data.train_questions": WHOLE,
    "data.seed": SEED,
    "data.reserve": "[1, inf): 1 is the cap itself",
    "data.max_prompt_tokens": TOKENS,
    "teacher.concurrency": COUNT,
    "teacher.rollouts": COUNT,
    "teacher.prefill": "[0, 1]: it is a share",
    "rollout.group_size": "[2, 2147483647]: a group is its own baseline",
    "rollout.new_prompts": COUNT,
    "rollout.max_tokens": TOKENS,
    "replay.ratio": "[0, inf)",
    "replay.capacity": WHOLE,
    "replay.threshold": "(0, 1]",
    "reformulation.ratio": "[0, inf)",
    "reformulation.candidate_tokens": TOKENS,
    "reformulation.retries": WHOLE,
    "reformulation.prefix_share": "(0, 1)",
    "advantage.eps": "(0, inf)",
    "loss.clip_low": "(0, 1)",
    "loss.clip_high": "(0, inf)",
    "loss.dual_clip": "(1, inf)",
    "loss.importance_cap": "[0, inf): 0 is off",
    "optimizer.lr": "(0, 1]",
    "optimizer.betas": "[0, 1)",
    "optimizer.eps": "(0, inf)",
    "optimizer.weight_decay": "[0, inf)",
    "optimizer.max_grad_norm": "[0, inf): 0 is off",
    "optimizer.updates": COUNT,
    "trainer.token_budget": COUNT,
    "trainer.lora_rank": "[0, 4096]: 0 lets every weight learn",
    "trainer.lora_alpha": COUNT,
    "trainer.max_mismatch": "(0, inf)",
    "evaluation.limit": "[0, 2147483647]: 0 is all",
    "evaluation.shard": COUNT,
    "evaluation.max_tokens": TOKENS,
    "evaluation.context": "[1, 16777216]",
    "evaluation.temperature": "[0, inf): 0 is greedy",
    "evaluation.top_p": "(0, 1]",
    "evaluation.top_k": "[0, 2147483647]: 0 is off",
    "evaluation.min_p": "[0, 1]",
    "evaluation.presence_penalty": "[-2, 2]",
    "evaluation.repetition_penalty": "(0, inf): 1 is off",
    "store.checkpoint_every": COUNT,
    "store.keep_checkpoints": COUNT,
    "compute.student_gpus": WHOLE,
    "compute.teacher_gpus": WHOLE,
    "compute.engine_memory": "(0, 1): it is a share",
    "compute.update_processes": "[0, 2147483647]: 0 is one a GPU",
    "compute.update_hosts": COUNT,
    "compute.overlap": COUNT,
    "compute.cpus": COUNT,
    "compute.memory_mb": COUNT,
    "compute.threads": "[0, 2147483647]: 0 is as many as there are cores",
}


def numbers(config: Config) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Each field that holds numbers: its name as section.field, and the numbers."""
    for section, fields in config.to_dict().items():
        if not isinstance(fields, dict):
            continue
        for name, value in fields.items():
            values: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
            if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
                yield f"{section}.{name}", values


def fault(config: Config) -> str:
    """What is wrong with the first number that is not finite or out of its bounds, or nothing."""
    for name, values in numbers(config):
        if not all(map(math.isfinite, values)):
            return f"{name} must be a finite number"
        interval, _, why = BOUNDS.get(name, "(-inf, inf)").partition(": ")
        if not all(inside(v, interval) for v in values):
            return f"{name} must be in {interval}" + (f" ({why})" if why else "")
    return ""


def inside(value: float, interval: str) -> bool:
    """Whether a number lies in an interval such as "(0, 1]"."""
    low, high = (text.strip() for text in interval[1:-1].split(","))
    above = operator.le if interval[0] == "[" else operator.lt
    below = operator.le if interval[-1] == "]" else operator.lt
    return above(_end(low), value) and below(value, _end(high))


def _end(text: str) -> float:
    return float(text) if "inf" in text or "." in text else int(text)
