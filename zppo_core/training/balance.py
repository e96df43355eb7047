"""Passes of equal cost for all ranks, where rows lie end to end and nothing is padded.

Every pass of an update has exchanges in it, so it lasts as long as its slowest rank. A mini-batch
is cut into `passes * ranks` shares of nearly equal cost, and shares of like cost run together.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.training.batching import Batch, Piece, packed_tokens

# Context [tokens] at which attention over it costs a token as much as the rest of its layers:
# on one H100, attention took 0.50 s of an update's 4.4 s at 3,100 tokens of context
# (benchmarks/results/gpu/2026-11-26-3.md).
CONTEXT_OF_EQUAL_COST = 24_000


def suffix_cost(prompt: int, response: int) -> float:
    """What a response costs beside its prompt [tokens without context]."""
    return response * (1 + (prompt + response / 2) / CONTEXT_OF_EQUAL_COST)


@dataclass
class Load:
    """What one rank does in one pass: members of groups; the prompt of each group counts once."""

    cost: float = 0.0
    tokens: int = 0
    members: dict[int, list[int]] = field(default_factory=dict)

    def add(self, index: int, group: TrainGroup, some: Sequence[int]) -> None:
        """Take up `some` of the suffixes of group number `index`."""
        self.cost += self.extra_cost(index, group, some)
        self.tokens += self.extra_tokens(index, group, some)
        self.members.setdefault(index, []).extend(some)

    def extra_cost(self, index: int, group: TrainGroup, some: Sequence[int]) -> float:
        """What `some` suffixes would add [tokens without context]."""
        prompt = group.prompt.length
        lengths = [len(group.suffixes[k].token_ids_T) for k in some]
        once = 0.0 if index in self.members else suffix_cost(0, prompt)
        return once + sum(suffix_cost(prompt, n) for n in lengths)

    def extra_tokens(self, index: int, group: TrainGroup, some: Sequence[int]) -> int:
        """What `some` suffixes would add [tokens]."""
        once = 0 if index in self.members else group.prompt.length
        return once + sum(len(group.suffixes[k].token_ids_T) for k in some)

    def batch(self, groups: Sequence[TrainGroup]) -> Batch:
        """The share as pieces of `groups`, in their order."""
        pieces = [Piece(i, tuple(sorted(some))) for i, some in sorted(self.members.items())]
        return [(piece, piece.of(groups)) for piece in pieces]


def balanced(groups: Sequence[TrainGroup], ranks: int, budget: int) -> list[list[Batch]]:
    """A mini-batch as passes over `ranks` ranks: for each pass, each rank's micro-batch.

    No share has more than `budget` computed tokens, unless one response alone has. A group is cut
    only as far as that needs. A rank's micro-batch is empty if there is nothing left for it.
    Depends on the groups' lengths and order alone.
    """
    passes = -(-packed_tokens(groups) // (ranks * budget))
    while (shares := _filled(groups, passes * ranks, budget)) is None:
        passes += 1
    shares.sort(key=lambda share: -share.cost)
    rows = [shares[i : i + ranks] for i in range(0, len(shares), ranks)]
    rows = [row for row in rows if row[0].members]
    # the costliest of a pass alternates between the first rank and the last
    rows = [row if i % 2 == 0 else row[::-1] for i, row in enumerate(rows)]
    return [[share.batch(groups) for share in row] for row in rows]


def _filled(groups: Sequence[TrainGroup], count: int, budget: int) -> list[Load] | None:
    """`count` shares: the costliest part first, each to the share with least to do that has room.

    None if a part finds no room. A single response beyond `budget` has a share for itself.
    """
    whole = [Load().extra_cost(i, g, range(len(g.suffixes))) for i, g in enumerate(groups)]
    target = sum(whole) / count
    parts = [
        (Load().extra_cost(i, group, some), i, some)
        for i, group in enumerate(groups)
        for some in _parts(group, -int(-whole[i] // target), budget)
    ]
    parts.sort(key=lambda part: (-part[0], part[1], part[2]))
    shares = [Load() for _ in range(count)]
    for _, index, some in parts:
        group = groups[index]
        room = [
            share
            for share in shares
            if not share.members or share.tokens + share.extra_tokens(index, group, some) <= budget
        ]
        if not room:
            return None
        least = min(room, key=lambda share: share.cost + share.extra_cost(index, group, some))
        least.add(index, group, some)
    return shares


def _parts(group: TrainGroup, count: int, budget: int) -> list[list[int]]:
    """The suffixes of `group` in `count` parts of like cost, or in more that `budget` allows."""
    suffixes = len(group.suffixes)
    for number in range(min(count, suffixes), suffixes):
        parts = _cut(group, number)
        if all(Load().extra_tokens(0, group, some) <= budget for some in parts):
            return parts
    return [[k] for k in range(suffixes)]


def _cut(group: TrainGroup, count: int) -> list[list[int]]:
    """The suffixes of `group` in `count` parts: the longest first, each to the cheapest part."""
    lengths = [len(s.token_ids_T) for s in group.suffixes]
    parts: list[list[int]] = [[] for _ in range(count)]
    queue = [(0.0, number) for number in range(count)]
    for k in sorted(range(len(lengths)), key=lambda k: (-lengths[k], k)):
        cost, number = heapq.heappop(queue)
        parts[number].append(k)
        heapq.heappush(queue, (cost + suffix_cost(group.prompt.length, lengths[k]), number))
    return parts
