"""Passes by workers are those of one process to the bit: gradients, scores, metrics, weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
import world

from zppo_core.config import LossConfig, TrainerConfig
from zppo_core.models.nano import build as nano
from zppo_core.models.shared import share, shared_like
from zppo_core.processes.crew import Crew
from zppo_core.run.sharing import one_thread
from zppo_core.training.pass_runner import CrewRunner, WorkerPasses, gradient_places
from zppo_core.training.updater import Trainer

if sys.platform != "linux":
    pytest.skip("crews are for Linux", allow_module_level=True)

BUDGET = 150
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "padded": {"mode": "padded"},
    "checkpointing": {"checkpointing": True},
    "adapters": {"lora_rank": 4},
    "frozen vision": {"train_vision": False},
}


@pytest.fixture(autouse=True)
def one_thread_here() -> Iterator[None]:
    """A worker has one; two add up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(sets: dict[str, Any], dtype: torch.dtype = torch.float32, **named: Any) -> Trainer:
    settings = TrainerConfig(**{"token_budget": BUDGET, "checkpointing": False, **sets})
    r = world.renderer()
    given = (r.forbidden_ids, r.pad_id, settings, world.FREE, LossConfig())
    return Trainer(world.model(dtype), *given, **named)


def groups() -> list[Any]:
    return world.groups(world.prompts(3, 2, 1), [4, 4, 4, 4, 4, 4])


def results(trainer: Trainer) -> tuple[list[np.ndarray], list[dict[str, Any]], torch.Tensor]:
    """Scores, metrics without times, all weights: of two updates with a score between them."""
    told = []
    for _ in range(2):
        scores = [array for row in trainer.score(groups()) for array in row]
        metrics = asdict(trainer.update(groups()))
        assert metrics["micro_batches"] >= 5
        told.append({name: v for name, v in metrics.items() if name != "seconds"})
    weights = torch.cat([p.detach().float().flatten() for p in trainer.model.parameters()])
    return scores, told, weights


def by_crew(trainer: Trainer, workers: int) -> tuple[Any, Any, Any]:
    places = gradient_places(trainer, workers)
    share(trainer.model)
    passes, before = WorkerPasses(trainer, places), list[int]()

    def backward(groups: Any, divisor: float, place: int) -> Any:
        """The first job of all is late: others must not take its place before it is read."""
        if place == 0 and not before:
            time.sleep(0.5)
        before.append(place)
        return passes.backward(groups, divisor, place)

    crew = Crew(workers, {"backward": backward, "scores": passes.scores}, one_thread)
    trainer.runner = CrewRunner(trainer, crew, places)
    try:
        return results(trainer)
    finally:
        crew.close()


def agree(make: Any) -> None:
    scores, metrics, weights = results(make())
    before = torch.cat([p.detach().float().flatten() for p in make().model.parameters()])
    assert not torch.equal(weights, before)
    for workers in (1, 2, 3):
        others = by_crew(make(), workers)
        assert all(map(np.array_equal, scores, others[0]))
        assert metrics == others[1]
        assert torch.equal(weights, others[2])


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_number_of_workers_gives_the_same_bits(variant: str) -> None:
    agree(lambda: built(VARIANTS[variant]))


def test_low_precision_is_summed_in_its_masters() -> None:
    agree(lambda: built({}, torch.bfloat16))


def test_a_teachers_distribution_is_seen_by_workers() -> None:
    teacher = nano.build_model(nano.build_tokenizer(), 2).eval()
    agree(lambda: built({}, teacher=teacher, objective="on_distill"))


def test_shared_tensors_are_laid_out_as_torch_does() -> None:
    odd = [torch.zeros(3, dtype=torch.bfloat16), torch.zeros(2, 5).t(), torch.zeros(0, 4)]
    places = shared_like(odd)
    for like, place in zip(odd, places, strict=True):
        assert (place.shape, place.stride(), place.dtype) == (
            like.shape,
            like.stride(),
            like.dtype,
        )
        assert place.numel() == 0 or place.data_ptr() % 64 == 0
    places[0].fill_(1)
    assert not places[1].any()


def test_weights_stay_the_objects_that_they_are() -> None:
    model = world.model()
    before = {n: (p, p.detach().clone()) for n, p in model.named_parameters()}
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    share(model)
    for name, parameter in model.named_parameters():
        assert parameter is before[name][0]
        assert torch.equal(parameter, before[name][1])
    assert tied == (model.get_output_embeddings().weight is model.get_input_embeddings().weight)
