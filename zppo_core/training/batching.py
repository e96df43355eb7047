"""Micro-batches by token budget and length: long prompts padded with short ones double a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from zppo_core.algorithm.train_groups import TrainGroup


class Piece(NamedTuple):
    """Some of the responses of one group: number of the group, numbers of its suffixes."""

    group: int
    members: tuple[int, ...]

    def of(self, groups: Sequence[TrainGroup]) -> TrainGroup:
        """The piece as a group of its own."""
        whole = groups[self.group]
        return replace(whole, suffixes=tuple(whole.suffixes[k] for k in self.members))


Batch = list[tuple[Piece, TrainGroup]]


def padded_tokens(groups: Sequence[TrainGroup], shared: bool) -> int:
    """Tokens that a forward pass over `groups` together computes, padding included."""
    prompt = max(g.prompt.length for g in groups)
    response = max(len(s.token_ids_T) for g in groups for s in g.suffixes)
    rows = sum(len(g.suffixes) for g in groups)
    return len(groups) * prompt + rows * response if shared else rows * (prompt + response)


def packed_tokens(groups: Sequence[TrainGroup]) -> int:
    """Tokens of `groups` end to end: each prompt once and every response, nothing else."""
    return sum(g.prompt.length + sum(len(s.token_ids_T) for s in g.suffixes) for g in groups)


def micro_batches(
    groups: Sequence[TrainGroup], budget: int, shared: bool, packed: bool = False
) -> list[Batch]:
    """`groups` cut into pieces of like length, each batch within `budget` computed tokens.

    A group too large by itself is halved until it fits or has one suffix left. Depends on the
    groups' lengths and order alone. Pieces say where their results belong.
    """

    def size(some: Sequence[TrainGroup]) -> int:
        return packed_tokens(some) if packed else padded_tokens(some, shared)

    pieces: Batch = []
    for i, group in enumerate(groups):
        pieces += _split(Piece(i, tuple(range(len(group.suffixes)))), groups, budget, size)
    pieces.sort(key=lambda p: (p[1].prompt.length, _longest(p[1]), p[0]))
    batches: list[Batch] = []
    for piece in pieces:
        together = [g for _, g in batches[-1]] + [piece[1]] if batches else []
        if together and size(together) <= budget:
            batches[-1].append(piece)
        else:
            batches.append([piece])
    return batches


def _longest(group: TrainGroup) -> int:
    return max(len(s.token_ids_T) for s in group.suffixes)


def _split(
    piece: Piece,
    groups: Sequence[TrainGroup],
    budget: int,
    size: Callable[[Sequence[TrainGroup]], int],
) -> Batch:
    part, count = piece.of(groups), len(piece.members)
    if count == 1 or size([part]) <= budget:
        return [(piece, part)]
    left, right = piece.members[: count // 2], piece.members[count // 2 :]
    return [
        half
        for members in (left, right)
        for half in _split(Piece(piece.group, members), groups, budget, size)
    ]
