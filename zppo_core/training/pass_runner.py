"""Who performs a trainer's passes: its own process, or workers that share its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import numpy as np
import torch

from zppo_core.models.shared import shared_like

if TYPE_CHECKING:
    from zppo_core.algorithm.train_groups import TrainGroup
    from zppo_core.processes.crew import Crew
    from zppo_core.training.fp32_masters import Masters
    from zppo_core.training.metrics import PartLoss, Sums

Parts = Sequence[Sequence["TrainGroup"]]  # the groups of each micro-batch
AHEAD = 2  # gradients for each worker that may wait for those before them


class Learner(Protocol):
    """What passes need of a trainer."""

    @property
    def masters(self) -> Masters:
        """Where gradients are summed."""
        ...

    def part_loss(self, groups: Sequence[TrainGroup], divisor: float) -> PartLoss:
        """What a micro-batch adds to the loss."""
        ...

    def part_scores(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        """Log-probabilities of a micro-batch's response tokens, flat."""
        ...


class PassRunner(Protocol):
    """Passes over the micro-batches of an update or a score, in order."""

    def added(self, parts: Parts, divisor: float) -> Iterator[Sums]:
        """Add each micro-batch's gradient to the masters; what it adds to the metrics."""
        ...

    def scored(self, parts: Parts) -> Iterator[np.ndarray]:
        """Log-probabilities of each micro-batch's response tokens, flat."""
        ...


class LocalRunner:
    """One pass after the other."""

    def __init__(self, trainer: Learner) -> None:
        self.trainer = trainer

    def added(self, parts: Parts, divisor: float) -> Iterator[Sums]:
        """See `PassRunner`."""
        for groups in parts:
            part = self.trainer.part_loss(groups, divisor)
            part.loss.backward()
            self.trainer.masters.collect()
            yield part.told

    def scored(self, parts: Parts) -> Iterator[np.ndarray]:
        """See `PassRunner`."""
        return map(self.trainer.part_scores, parts)


class Passed(NamedTuple):
    """What a worker says of a pass: the gradients of the names `given` lie in its place."""

    told: Sums
    given: tuple[str, ...]


class WorkerPasses:
    """The worker's side: passes whose gradients are left in one of `places` of shared memory."""

    def __init__(self, trainer: Learner, places: Sequence[Mapping[str, torch.Tensor]]) -> None:
        self.trainer, self.places = trainer, places

    def backward(self, groups: Sequence[TrainGroup], divisor: float, place: int) -> Passed:
        """A micro-batch's gradient, in that place."""
        learning = self.trainer.masters.parameters
        for parameter in learning.values():
            parameter.grad = None
        part = self.trainer.part_loss(groups, divisor)
        part.loss.backward()
        given = {n: p.grad for n, p in learning.items() if p.grad is not None}
        for name, gradient in given.items():
            self.places[place][name].copy_(gradient)
        return Passed(part.told, tuple(given))

    def scores(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        """Log-probabilities of a micro-batch's response tokens, flat."""
        return self.trainer.part_scores(groups)


class CrewRunner:
    """Passes by the workers of a crew; gradients are added here, in the micro-batches' order.

    So the sums are those of one process, to the bit.
    """

    def __init__(
        self, trainer: Learner, crew: Crew, places: Sequence[Mapping[str, torch.Tensor]]
    ) -> None:
        self.trainer, self.crew, self.places = trainer, crew, places

    def added(self, parts: Parts, divisor: float) -> Iterator[Sums]:
        """See `PassRunner`."""
        count = len(self.places)
        jobs = [(groups, divisor, i % count) for i, groups in enumerate(parts)]
        passes = cast("Iterator[Passed]", self.crew.perform("backward", jobs, window=count))
        for i, passed in enumerate(passes):
            gradients = self.places[i % count]
            self.trainer.masters.add({name: gradients[name] for name in passed.given})
            yield passed.told

    def scored(self, parts: Parts) -> Iterator[np.ndarray]:
        """See `PassRunner`."""
        jobs = [(groups,) for groups in parts]
        return cast("Iterator[np.ndarray]", self.crew.perform("scores", jobs))


def gradient_places(trainer: Learner, workers: int) -> list[dict[str, torch.Tensor]]:
    """Shared memory for the gradients of some micro-batches at a time, by the weights' names."""
    learning = trainer.masters.parameters
    return [
        dict(zip(learning, shared_like(list(learning.values())), strict=True))
        for _ in range(AHEAD * workers)
    ]
