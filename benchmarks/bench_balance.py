"""How much of the ranks' time in an update is useful: what nobody pads, waits for or repeats.

    python benchmarks/bench_balance.py

Responses are drawn from a log-normal with a mean of 4,500 tokens, cut at 12,288; prompts have
1,100, groups 8 responses. A mini-batch has 84 groups and micro-batches `BUDGETS` tokens. Every pass
lasts as long as the rank with most computed tokens. Useful are a prompt once and its
responses.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tabulate import tabulate

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.training.batching import packed_tokens, padded_tokens
from zppo_core.training.rank_plan import passes
from zppo_core.types import EncodedPrompt

PROMPT, MEAN, SIGMA, LONGEST, RESPONSES = 1_100, 4_500, 0.7, 12_288, 8
GROUPS, BUDGETS, SEEDS = 84, (32_768, 65_536), 10
MODES = ("padded", "shared_prefix", "packed")


def drawn(rng: np.random.Generator, count: int) -> list[TrainGroup]:
    """`count` groups with response lengths as above; their tokens are zeros."""
    encoded = EncodedPrompt(np.zeros(PROMPT, np.int64), np.zeros(PROMPT, np.int64))
    groups = []
    for i in range(count):
        lengths = rng.lognormal(np.log(MEAN) - SIGMA**2 / 2, SIGMA, RESPONSES)
        suffixes = []
        for n in np.minimum(np.ceil(lengths), LONGEST).astype(int):
            zeros = np.zeros(n, np.float32)
            suffixes.append(Suffix(np.zeros(n, np.int32), np.ones(n, bool), zeros, zeros))
        groups.append(TrainGroup(f"g{i}", "plain", encoded, tuple(suffixes)))
    return groups


def useful_share(groups: Sequence[TrainGroup], ranks: int, budget: int, mode: str) -> float:
    """Useful tokens over what `ranks` could compute while the passes last."""
    spent = 0
    for row in passes(groups, ranks, budget, mode):
        parts = [[part for _, part in batch] for batch in row if batch]
        if mode == "packed":
            spent += max(packed_tokens(some) for some in parts)
        else:
            spent += max(padded_tokens(some, mode == "shared_prefix") for some in parts)
    return packed_tokens(groups) / (ranks * spent)


def main() -> None:
    rows = []
    for ranks, budget, mode in product((6, 48), BUDGETS, MODES):
        by_seed = [
            useful_share(drawn(np.random.default_rng(seed), GROUPS), ranks, budget, mode)
            for seed in range(SEEDS)
        ]
        rows.append([ranks, budget, mode, np.mean(by_seed), min(by_seed), max(by_seed)])
    heads = ["ranks", "tokens", "mode", "share", "least", "most"]
    print(tabulate(rows, heads, "github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
