"""How far two AdamW updates of many ranks end from those of one process, and how long they take.

    python benchmarks/bench_sharded.py

The nano student, seven groups, gloo on this machine. "apart" is the length of the difference of the
weights over that of the way they have come. In bfloat16 steps are in proportion to the gradient, as
in the test: Adam's first steps would enlarge what rounding leaves. Appends to
results/bench_sharded.jsonl.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from common import record

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "scale")]

import test_sharded as sharded  # noqa: E402 - the same groups and models as the test

LAYOUTS = (
    (2, 1, False, torch.float32),
    (2, 2, False, torch.float32),
    (3, 2, False, torch.float32),
    (3, 3, False, torch.float32),
    (2, 1, False, torch.bfloat16),
    (2, 2, True, torch.bfloat16),
    (2, 3, False, torch.bfloat16),
    (3, 3, False, torch.bfloat16),
)


def row(processes: int, stage: int, offload: bool, dtype: torch.dtype) -> dict[str, object]:
    """Many ranks against one process, by float32 weights or masters."""
    settings = sharded.OPTIMIZER if dtype == torch.float32 else sharded.STEADY
    one = sharded.alone(dtype, settings)
    alone = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        start = sharded.masters(one, folder / "start")
        many = sharded.remote(processes, stage, dtype, settings, offload=offload)
        try:
            made = []
            for seed in range(2):
                alone.append(one.update(sharded.groups(seed)))
                made.append(many.update(sharded.groups(seed)))
            many.publish()
            a, b = (sharded.masters(t, folder / n) for t, n in ((one, "one"), (many, "many")))
        finally:
            many.close()
    norms = [abs(a.grad_norm / b.grad_norm - 1) for a, b in zip(made, alone, strict=True)]
    return {
        "processes": processes,
        "zero_stage": stage,
        "offload": offload,
        "dtype": str(dtype).removeprefix("torch."),
        "apart": float((a - b).norm() / (a - start).norm()),
        "gradient_norm_apart": max(norms),
        "seconds": made[1].seconds,
        "seconds_alone": alone[1].seconds,
    }


def main() -> int:
    """Print and record a row for each layout."""
    rows = [row(*layout) for layout in LAYOUTS]
    record("bench_sharded", {"groups": 7, "updates": 2, "lr": sharded.OPTIMIZER.lr}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
