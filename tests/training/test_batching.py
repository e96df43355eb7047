"""What a pass costs, which groups share one, and the float32 copies of low-precision weights."""

import numpy as np
import pytest
import torch

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.training.batching import micro_batches, packed_tokens, padded_tokens
from zppo_core.training.fp32_masters import Masters
from zppo_core.training.lm_head import jensen_shannon
from zppo_core.types import EncodedPrompt


def group(name: str, prompt: int, *responses: int) -> TrainGroup:
    suffixes = tuple(
        Suffix(np.zeros(n, np.int32), np.ones(n, bool), np.zeros(n), np.zeros(n)) for n in responses
    )
    encoded = EncodedPrompt(np.zeros(prompt, np.int64), np.zeros(prompt, np.int64))
    return TrainGroup(name, "plain", encoded, suffixes)


def test_a_pass_pads_every_row_to_the_longest_and_shares_a_prompt_once() -> None:
    two = [group("a", 10, 3, 5), group("b", 7, 4, 2, 1)]
    assert padded_tokens(two, shared=True) == 2 * 10 + 5 * 5
    assert padded_tokens(two, shared=False) == 5 * (10 + 5)
    assert padded_tokens(two[:1], shared=True) == 10 + 2 * 5


def names(batches) -> list[list[str]]:
    return [[part.uid for _, part in batch] for batch in batches]


def test_groups_of_like_length_share_a_pass() -> None:
    mixed = [
        group("long1", 100, 10),
        group("short1", 10, 10),
        group("long2", 100, 10),
        group("short2", 10, 10),
    ]
    assert names(micro_batches(mixed, 220, shared=True)) == [
        ["short1", "short2"],
        ["long1", "long2"],
    ]
    by_response = [group("a", 10, 90), group("b", 10, 5), group("c", 10, 90), group("d", 10, 5)]
    assert names(micro_batches(by_response, 200, shared=True)) == [["b", "d"], ["a", "c"]]


def test_a_group_beyond_the_budget_is_halved_and_says_where_its_parts_belong() -> None:
    batches = micro_batches([group("a", 10, 8, 8, 8, 8, 8)], 30, shared=True)
    assert [[piece for piece, _ in batch] for batch in batches] == [
        [(0, (0, 1))],
        [(0, (2,))],
        [(0, (3, 4))],
    ]
    assert [len(part.suffixes) for batch in batches for _, part in batch] == [2, 1, 2]


def test_a_budget_is_filled_to_its_last_token() -> None:
    groups = [group(f"g{i}", 10, 5) for i in range(4)]
    assert [len(b) for b in micro_batches(groups, 30, shared=True)] == [2, 2]
    assert [len(b) for b in micro_batches(groups, 29, shared=True)] == [1, 1, 1, 1]
    assert [len(b) for b in micro_batches(groups, 45, shared=True)] == [3, 1]


def test_masters_are_float32_copies_that_take_up_and_give_back() -> None:
    low = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    full = torch.tensor([1.0, 2.0])
    masters = Masters([("low", low), ("full", full)])
    assert list(masters.copies) == ["low"]
    assert masters.tensors["full"] is full
    assert masters.tensors["low"].dtype == torch.float32
    masters.tensors["low"] += 1e-4  # less than bfloat16 can tell
    masters.publish()
    assert low.tolist() == [1.0, 2.0]
    masters.tensors["low"] += 1.0
    masters.publish()
    assert low.tolist() == [2.0, 3.0]
    low.fill_(7.0)
    masters.refresh()
    assert masters.tensors["low"].tolist() == [7.0, 7.0]


def test_masters_sum_gradients_and_fill_in_zeros_where_there_is_none() -> None:
    low = torch.zeros(2, dtype=torch.bfloat16)
    still = torch.zeros(3)
    masters = Masters([("low", low), ("still", still)])
    for value in (1.0, 2.0**-9):  # the second would be lost in bfloat16
        low.grad = torch.full_like(low, value)
        masters.collect()
        assert low.grad is None
    masters.fill()
    assert masters.tensors["low"].grad.tolist() == [1.0 + 2.0**-9] * 2
    assert masters.tensors["still"].grad.tolist() == [0.0] * 3
    masters.zero_grad()
    assert masters.tensors["low"].grad is None
    assert still.grad is None


def test_models_of_two_vocabularies_are_not_compared() -> None:
    with pytest.raises(ValueError, match="20 and 21 tokens"):
        jensen_shannon(
            torch.randn(2, 4),
            torch.randn(20, 4),
            torch.randn(2, 4),
            torch.randn(21, 4),
            torch.tensor([0]),
        )


def test_a_group_that_just_fits_stays_whole_however_it_runs() -> None:
    whole = group("a", 10, 5, 5)
    for shared, packed, tokens in ((True, False, 20), (False, False, 30), (False, True, 20)):
        assert len(micro_batches([whole], tokens, shared, packed)) == 1
        assert len(micro_batches([whole], tokens - 1, shared, packed)) == 2


def test_a_row_of_groups_end_to_end_has_each_prompt_once_and_no_padding() -> None:
    assert packed_tokens([group("a", 10, 3, 5), group("b", 7, 4, 2, 1)]) == 10 + 8 + 7 + 7
