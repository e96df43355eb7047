"""How far two AdamW updates of many ranks end from those of one process, and how long they take.

    python benchmarks/bench_sharded.py

The nano student, seven groups, gloo on this machine. "apart" is the length of the difference of the
weights over that of the way they have come. Appends to results/bench_sharded.jsonl.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from common import record

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "scale")]

import test_sharded as sharded  # noqa: E402 - the same groups and models as the test

from zppo_core import models  # noqa: E402


def main() -> int:
    """Print and record a row for each layout."""
    start = models.load(sharded.NAME, torch.float32)[0]
    one = sharded.alone()
    alone = [one.update(sharded.groups(seed)) for seed in range(2)]
    rows = []
    for processes, stage in ((2, 1), (2, 2), (3, 2), (3, 3)):
        many = sharded.remote(processes, stage)
        try:
            made = [many.update(sharded.groups(seed)) for seed in range(2)]
            many.publish()
            found = {
                "processes": processes, "zero_stage": stage,
                "apart": sharded.apart(many.model, one.model, start),
                "gradient_norm_apart": max(abs(a.grad_norm / b.grad_norm - 1)
                                           for a, b in zip(made, alone, strict=True)),
                "seconds": made[1].seconds, "seconds_alone": alone[1].seconds,
            }  # fmt: skip
        finally:
            many.close()
        rows.append(found)
    record("bench_sharded", {"groups": 7, "updates": 2, "lr": sharded.OPTIMIZER.lr}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
