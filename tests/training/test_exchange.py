"""When gradients are exchanged beside the backward pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zppo_core.config import OptimizerConfig
from zppo_core.models import memory
from zppo_core.training import deepspeed
from zppo_core.training.deepspeed import BUCKET, ShardedTrainer, Sharding


@pytest.mark.parametrize(
    ("stage", "sizes", "device", "beside"),
    [
        (2, [90, 40, 60], "cuda", True),
        (2, [90, 101, 60], "cuda", False),  # reduced where it lies, which is written to meanwhile
        (1, [90, 101, 60], "cuda", False),
        (3, [90, 101, 60], "cuda", True),  # there DeepSpeed tells torch who still reads
        (2, [90], "cuda", True),  # a bucket for all
        (2, [90, 40, 60], "cpu", False),
    ],
)
def test_a_gradient_larger_than_the_bucket_is_not_exchanged_beside_the_pass(
    monkeypatch, stage: int, sizes: list[int], device: str, beside: bool
) -> None:
    monkeypatch.setattr(deepspeed, "BUCKET", 100)
    trainer: Any = SimpleNamespace(
        named={str(i): torch.zeros(n) for i, n in enumerate(sizes)},
        device=torch.device(device),
        sharding=Sharding(stage),
    )
    zero = ShardedTrainer._settings(trainer, OptimizerConfig())["zero_optimization"]
    assert zero["overlap_comm"] is beside
    assert zero["reduce_bucket_size"] == min(100, sum(sizes))


def test_every_students_embedding_is_larger_than_the_bucket() -> None:
    """So none of them is exchanged beside the pass, but adapters are."""
    for scale in ("0.8B", "2B", "4B", "9B"):
        largest = memory.shapes()[f"Qwen/Qwen3.5-{scale}"].largest
        assert not deepspeed.exchanges_beside(2, largest, BUCKET)
