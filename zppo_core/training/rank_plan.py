"""Which rank does what of a mini-batch, pass by pass: it follows from the groups alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.training.batching import Piece, micro_batches
from zppo_core.types import EncodedPrompt

Batch = list[tuple[Piece, TrainGroup]]


@dataclass(frozen=True)
class Round:
    """One pass of a rank; `idle` ones count for nothing. `seen`: see `Whole.forward`."""

    batch: Batch
    idle: bool
    seen: EncodedPrompt | None

    @property
    def parts(self) -> list[TrainGroup]:
        return [part for _, part in self.batch]


def _length(batch: Batch) -> int:
    return sum(len(s.token_ids_T) for _, g in batch for s in g.suffixes)


def _pictures(batches: Iterable[Batch]) -> list[EncodedPrompt]:
    return [picture for batch in batches if (picture := _picture(batch)) is not None]


def _picture(batch: Batch) -> EncodedPrompt | None:
    """The first prompt with pictures."""
    return next((g.prompt for _, g in batch if g.prompt.pixel_values is not None), None)


def assign_ranks(groups: Sequence[TrainGroup], ranks: int) -> list[int]:
    """The rank of each group: the costliest first, each to the rank with least to do so far.

    Cost is tokens: the prompt once and every response. Depends on the groups alone.
    """
    cost = [g.prompt.length + sum(len(s.token_ids_T) for s in g.suffixes) for g in groups]
    load, owners = [0] * ranks, [0] * len(groups)
    for i in sorted(range(len(groups)), key=lambda i: (-cost[i], i)):
        owners[i] = min(range(ranks), key=lambda r: (load[r], r))
        load[owners[i]] += cost[i]
    return owners


def rounds(
    groups: Sequence[TrainGroup], ranks: int, rank: int, budget: int, shared: bool, offload: bool
) -> list[Round]:
    """The passes of `rank` over its share of `groups`; as many as the rank with most has.

    `budget` [tokens] and `shared` prefixes: see `micro_batches`. With `offload` the last pass goes
    through the vision tower if any does: the optimizer gets gradients of that pass's weights alone.
    """
    owners = assign_ranks(groups, ranks)
    plans: list[list[Batch]] = []
    for one in range(ranks):
        owned = [i for i, owner in enumerate(owners) if owner == one]
        batches = micro_batches([groups[i] for i in owned], budget, shared) if owned else []
        plans.append([[((owned[p[0]], p[1], p[2]), g) for p, g in batch] for batch in batches])
    everything = [batch for plan in plans for batch in plan]
    shortest, count = min(everything, key=_length), max(map(len, plans))
    planned = []
    for i in range(count):
        taken = [plan[i] if i < len(plan) else shortest for plan in plans]
        last = offload and i == count - 1
        seen = _pictures(taken) or (_pictures(everything) if last else [])
        held = taken[rank]
        lacks = seen and _picture(held) is None
        planned.append(Round(held, i >= len(plans[rank]), seen[0] if lacks else None))
    return planned
