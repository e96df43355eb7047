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


@dataclass(frozen=True)
class Share:
    """What one rank is given of a mini-batch: its passes, and the size of the whole.

    `lengths` are the response tokens of every group's suffixes, `tokens` the sampled ones of all.
    """

    turns: list[Round]
    lengths: list[list[int]]
    tokens: int


def _length(batch: Batch) -> int:
    return sum(len(s.token_ids_T) for _, g in batch for s in g.suffixes)


def _pictures(batches: Iterable[Batch]) -> list[EncodedPrompt]:
    return [found for batch in batches if (found := _picture(batch)) is not None]


def _picture(batch: Batch) -> EncodedPrompt | None:
    """The first prompt with pictures."""
    return next((g.prompt for _, g in batch if g.prompt.pixel_values is not None), None)


def deal(groups: Sequence[TrainGroup], ranks: int) -> list[int]:
    """The rank of each group: the costliest first, each to the rank with least to do so far.

    Cost is tokens: the prompt once and every response. Depends on the groups alone.
    """
    cost = [g.prompt.length + sum(len(s.token_ids_T) for s in g.suffixes) for g in groups]
    load, owners = [0] * ranks, [0] * len(groups)
    for i in sorted(range(len(groups)), key=lambda i: (-cost[i], i)):
        owners[i] = min(range(ranks), key=lambda r: (load[r], r))
        load[owners[i]] += cost[i]
    return owners


def shares(
    groups: Sequence[TrainGroup], ranks: int, budget: int, shared: bool, offload: bool
) -> list[Share]:
    """What each of `ranks` does of `groups`; all have as many passes as the one with most.

    `budget` [tokens] and `shared` prefixes: see `micro_batches`. With `offload` the last pass goes
    through the vision tower if any does: the optimizer gets gradients of that pass's weights alone.
    """
    owners = deal(groups, ranks)
    plans: list[list[Batch]] = []
    for one in range(ranks):
        mine = [i for i, owner in enumerate(owners) if owner == one]
        batches = micro_batches([groups[i] for i in mine], budget, shared) if mine else []
        plans.append([[((mine[p[0]], p[1], p[2]), g) for p, g in batch] for batch in batches])
    everything = [batch for plan in plans for batch in plan]
    shortest, count = min(everything, key=_length), max(map(len, plans))
    # who has no picture in a pass is shown the smallest of all: it travels to many
    pictures = sorted(_pictures(everything), key=lambda p: p.nbytes)[:1]
    found: list[list[Round]] = [[] for _ in plans]
    for i in range(count):
        taken = [plan[i] if i < len(plan) else shortest for plan in plans]
        last = offload and i == count - 1
        through = bool(_pictures(taken)) or last
        for rank, own in enumerate(taken):
            lacks = through and pictures and _picture(own) is None
            idle = i >= len(plans[rank])
            found[rank].append(Round(own, idle, pictures[0] if lacks else None))
    lengths = [[len(s.token_ids_T) for s in g.suffixes] for g in groups]
    tokens = sum(g.tokens for g in groups)
    return [Share(turns, lengths, tokens) for turns in found]
