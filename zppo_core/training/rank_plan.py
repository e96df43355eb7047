"""Which rank does what of a mini-batch, pass by pass: it follows from the groups alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.training.balance import balanced
from zppo_core.training.batching import Batch, Piece, micro_batches
from zppo_core.types import EncodedPrompt

if TYPE_CHECKING:
    import torch


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

    def without_pixels(self) -> Share:
        """The share as it travels: what pixels were made of instead of them, where it is known."""
        return self._with_prompts(lambda p: replace(p, pixel_values=None) if p.images else p)

    def with_pixels(self, pixels: Callable[[Sequence[bytes]], torch.Tensor]) -> Share:
        """The share as it is computed: `pixels` of its encoded pictures, made once a prompt."""

        def whole(prompt: EncodedPrompt) -> EncodedPrompt:
            if prompt.images and prompt.pixel_values is None:
                return replace(prompt, pixel_values=pixels(prompt.images))
            return prompt

        return self._with_prompts(whole)

    def _with_prompts(self, change: Callable[[EncodedPrompt], EncodedPrompt]) -> Share:
        """The share with each prompt changed; parts of a group go on sharing theirs."""
        changed = {id(p): change(p) for p in self._prompts()}
        turns = [
            Round(
                [(piece, replace(g, prompt=changed[id(g.prompt)])) for piece, g in turn.batch],
                turn.idle,
                None if turn.seen is None else changed[id(turn.seen)],
            )
            for turn in self.turns
        ]
        return replace(self, turns=turns)

    def _prompts(self) -> list[EncodedPrompt]:
        """Each prompt once."""
        parts = [part.prompt for turn in self.turns for part in turn.parts]
        seen = [turn.seen for turn in self.turns if turn.seen is not None]
        return list({id(p): p for p in [*parts, *seen]}.values())

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays and pictures, of each prompt once."""
        prompts = self._prompts()
        pictures = sum(len(data) for p in prompts for data in p.images)
        arrays = [
            a
            for turn in self.turns
            for g in turn.parts
            for s in g.suffixes
            for a in (s.token_ids_T, s.mask_T, s.weights_T, s.sampler_logp_T, s.old_logp_T)
            if a is not None
        ]
        return pictures + sum(p.nbytes for p in prompts) + sum(a.nbytes for a in arrays)


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


def shares(
    groups: Sequence[TrainGroup], ranks: int, budget: int, mode: str, offload: bool
) -> list[Share]:
    """What each of `ranks` does of `groups`; all have as many passes as the one with most.

    `budget` [tokens] and `mode` of the forward pass: see `passes`. With `offload` the last pass
    goes through the vision tower if any does: the optimizer gets gradients of that pass's weights
    alone.
    """
    rows = passes(groups, ranks, budget, mode)
    everything = [batch for row in rows for batch in row if batch]
    shortest = min(everything, key=_length)
    # who has no picture in a pass is shown the smallest of all: it travels to many
    pictures = sorted(_pictures(everything), key=lambda p: p.nbytes)[:1]
    turns: list[list[Round]] = [[] for _ in range(ranks)]
    for i, row in enumerate(rows):
        taken = [batch or shortest for batch in row]
        last = offload and i == len(rows) - 1
        through = bool(_pictures(taken)) or last
        for rank, held in enumerate(taken):
            lacks = through and pictures and _picture(held) is None
            turns[rank].append(Round(held, not row[rank], pictures[0] if lacks else None))
    lengths = [[len(s.token_ids_T) for s in g.suffixes] for g in groups]
    tokens = sum(g.tokens for g in groups)
    return [Share(of_rank, lengths, tokens) for of_rank in turns]


def passes(groups: Sequence[TrainGroup], ranks: int, budget: int, mode: str) -> list[list[Batch]]:
    """A mini-batch as passes, and each rank's micro-batch of a pass; empty where it has none.

    `packed` rows are dealt out by cost (`balanced`). Padded ones are wasted beside others of
    another length, so whole groups are dealt out.
    """
    if mode == "packed":
        return balanced(groups, ranks, budget)
    owners = assign_ranks(groups, ranks)
    plans: list[list[Batch]] = []
    for one in range(ranks):
        owned = [i for i, owner in enumerate(owners) if owner == one]
        batches = micro_batches([groups[i] for i in owned], budget, mode == "shared_prefix")
        plans.append([[(Piece(owned[p.group], p.members), g) for p, g in b] for b in batches])
    return [
        [plan[i] if i < len(plan) else [] for plan in plans] for i in range(max(map(len, plans)))
    ]
