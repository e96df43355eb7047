"""Micro-batches by token budget and length: long prompts padded with short ones double a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from zppo_core.algorithm.train_groups import TrainGroup

# (index of the group, first and last + 1 of its suffixes)
Piece = tuple[int, int, int]


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
) -> list[list[tuple[Piece, TrainGroup]]]:
    """`groups` cut into pieces of like length, each batch within `budget` computed tokens.

    A group too large by itself is halved until it fits or has one suffix left. Depends on the
    groups' lengths and order alone. Pieces say where their results belong.
    """

    def size(some: Sequence[TrainGroup]) -> int:
        return packed_tokens(some) if packed else padded_tokens(some, shared)

    pieces: list[tuple[Piece, TrainGroup]] = []
    for i, group in enumerate(groups):
        pieces += _split((i, 0, len(group.suffixes)), group, budget, size)
    pieces.sort(key=lambda p: (p[1].prompt.length, _longest(p[1]), p[0]))
    batches: list[list[tuple[Piece, TrainGroup]]] = []
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
    piece: Piece, group: TrainGroup, budget: int, size: Callable[[Sequence[TrainGroup]], int]
) -> list[tuple[Piece, TrainGroup]]:
    index, first, end = piece
    part = replace(group, suffixes=group.suffixes[first:end])
    if end - first == 1 or size([part]) <= budget:
        return [(piece, part)]
    middle = (first + end) // 2
    left = _split((index, first, middle), group, budget, size)
    return left + _split((index, middle, end), group, budget, size)
