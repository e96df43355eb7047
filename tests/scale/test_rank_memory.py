"""What a rank gathers to save or to take up a state, tensor by tensor, and gives back."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zppo_core.cluster import ranks
from zppo_core.cluster.ranks import Rank
from zppo_core.training import sharded_state
from zppo_core.training.deepspeed import MOMENTS
from zppo_core.training.optimizer_state import MASTER


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """What a rank's trainer is asked for, in order."""
    asked: list[str] = []

    def state_part(trainer: Any, part: int, parts: int) -> dict[str, torch.Tensor]:
        asked.append("gather")
        return {}

    monkeypatch.setattr(ranks, "state_part", state_part)
    monkeypatch.setattr(ranks, "take_up", lambda *_: asked.append("take up"))
    return asked


def test_what_was_gathered_is_given_back_before_the_engine_wakes(calls) -> None:
    rank = Rank.__new__(Rank)
    trainer: Any = SimpleNamespace(rank=0, leave_room=lambda: calls.append("leave room"))
    rank.trainer = trainer
    assert rank.save("", 0, 2) == ("optimizer-1-of-2.safetensors", {})
    rank.load({}, {})
    assert calls == ["gather", "leave room", "take up", "leave room"]


@pytest.mark.parametrize("part", [0, 1])
def test_no_two_whole_tensors_are_on_the_gpu_at_once(monkeypatch, part: int) -> None:
    there: weakref.WeakSet[Gathered] = weakref.WeakSet()

    class Gathered:
        """Stands for a tensor on a GPU."""

        def __init__(self, value: float) -> None:
            assert not there
            there.add(self)
            self.value = value

        def cpu(self) -> torch.Tensor:
            return torch.tensor([self.value])

    order: list[str] = []

    def whole(trainer: Any, name: str, kind: str) -> Gathered:
        order.append(f"{name}:{kind}")
        return Gathered(float(len(order)))

    monkeypatch.setattr(sharded_state, "whole", whole)
    learning = {name: torch.zeros(1, dtype=torch.bfloat16) for name in "ab"}
    trainer: Any = SimpleNamespace(steps=3, learning=learning, low_rank=False)
    tensors = sharded_state.state_part(trainer, part, 2)
    kinds = (*MOMENTS, MASTER)
    assert order == [f"{name}:{kind}" for name in "ab" for kind in kinds]  # on every rank alike
    mine = "ab"[part]
    assert tensors.pop(f"{mine}:step") == 3
    assert {name: int(v) for name, v in tensors.items()} == {
        name: i + 1 for i, name in enumerate(order) if name.startswith(mine)
    }
