"""Passes of packed rows: nothing lost, nothing over the budget, and ranks that seldom wait."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bench_balance import drawn, useful_share
from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.training.balance import CONTEXT_OF_EQUAL_COST, Load, balanced, suffix_cost
from zppo_core.training.batching import packed_tokens
from zppo_core.types import EncodedPrompt


def group(prompt: int, *responses: int) -> TrainGroup:
    suffixes = tuple(
        Suffix(np.zeros(n, np.int32), np.ones(n, bool), np.zeros(n), np.zeros(n)) for n in responses
    )
    encoded = EncodedPrompt(np.zeros(prompt, np.int64), np.zeros(prompt, np.int64))
    return TrainGroup("g", "plain", encoded, suffixes)


LENGTHS = st.tuples(st.integers(1, 300), st.lists(st.integers(1, 900), min_size=1, max_size=8)).map(
    lambda pair: group(pair[0], *pair[1])
)


@given(st.lists(LENGTHS, min_size=1, max_size=9), st.integers(1, 5), st.integers(1, 3000))
@settings(deadline=None, max_examples=60)
def test_every_response_is_in_one_pass_of_one_rank_and_the_budget_holds(
    groups: list[TrainGroup], ranks: int, budget: int
) -> None:
    passes = balanced(groups, ranks, budget)
    assert all(len(row) == ranks for row in passes)
    assert all(any(row) for row in passes)
    batches = [batch for row in passes for batch in row if batch]
    seen = sorted((p.group, k) for batch in batches for p, _ in batch for k in p.members)
    assert seen == [(i, k) for i, g in enumerate(groups) for k in range(len(g.suffixes))]
    for batch in batches:
        parts = [part for _, part in batch]
        alone = sum(len(part.suffixes) for part in parts) == 1
        assert alone or packed_tokens(parts) <= budget


def test_a_group_is_cut_only_as_far_as_the_ranks_need() -> None:
    (row,) = balanced([group(10, 5, 5), group(10, 5, 5)], 2, 1000)
    assert [[piece for piece, _ in batch] for batch in row] == [[(0, (0, 1))], [(1, (0, 1))]]
    (row,) = balanced([group(10, 40, 20, 20)], 2, 1000)
    assert [[piece for piece, _ in batch] for batch in row] == [[(0, (0,))], [(0, (1, 2))]]


def test_more_ranks_than_responses_leave_some_without_work() -> None:
    passes = balanced([group(10, 5)], 3, 1000)
    assert sorted(len(batch) for batch in passes[0]) == [0, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_six_ranks_are_busy_nine_tenths_of_an_update_at_the_papers_lengths(seed: int) -> None:
    groups = drawn(np.random.default_rng(seed), 84)
    assert useful_share(groups, 6, 32_768, "packed") >= 0.9


def test_a_response_costs_more_the_longer_its_context() -> None:
    assert suffix_cost(0, 0) == 0
    assert suffix_cost(CONTEXT_OF_EQUAL_COST, 10) == pytest.approx(20, rel=1e-3)
    short, long = group(10, *[100] * 10), group(20_000, 1000)
    (row,) = balanced([short, long], 2, 50_000)
    costs = [sum(suffix_cost(0, p.prompt.length) for _, p in batch) for batch in row]
    assert costs[0] > costs[1]  # the long one is dealt out first


def test_members_keep_their_order_and_the_costliest_rank_changes() -> None:
    groups = [group(1, n, n + 1, n + 2) for n in (100, 90, 80, 70)]
    passes = balanced(groups, 2, 310)
    for row in passes:
        for batch in row:
            for piece, _ in batch:
                assert list(piece.members) == sorted(piece.members)
    tokens = [[packed_tokens([part for _, part in batch]) for batch in row] for row in passes]
    assert [row[0] >= row[1] for row in tokens] == [True, False]


def test_a_share_counts_the_prompt_of_its_parts_once() -> None:
    one, share = group(100, 10, 20), Load()
    share.add(0, one, [1])
    assert share.extra_tokens(0, one, [0]) == 10
    share.add(0, one, [0])
    assert share.tokens == packed_tokens([one])
    assert share.cost == Load().extra_cost(0, one, [0, 1])
