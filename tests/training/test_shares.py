"""What each rank does of a mini-batch: everything once, in as many passes as the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.training.rank_plan import assign_ranks, shares
from zppo_core.types import EncodedPrompt

MODES = ("shared_prefix", "packed")
MIXED = [2, 1, 4, 3, 2]
GROUPS = world.groups(world.prompts(), MIXED)
TEXTS = world.groups(world.prompts(0, 3, 0), [3, 2, 4])


def cost(group) -> int:
    return group.prompt.length + sum(len(s.token_ids_T) for s in group.suffixes)


@given(st.permutations(range(5)), st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_the_costliest_group_goes_first_and_each_to_who_has_least(order, ranks: int) -> None:
    batch = [GROUPS[i] for i in order]
    owners = assign_ranks(batch, ranks)
    load = [0] * ranks
    for i in sorted(range(5), key=lambda i: (-cost(batch[i]), i)):
        assert load[owners[i]] == min(load)
        load[owners[i]] += cost(batch[i])
    assert sum(load) == sum(map(cost, batch))


@pytest.mark.parametrize("batch", [GROUPS, TEXTS])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("budget", [1, 200, 100_000])
@pytest.mark.parametrize("mode", MODES)
def test_all_ranks_together_pass_over_everything_once(
    batch, ranks: int, budget: int, mode: str
) -> None:
    plans = [share.turns for share in shares(batch, ranks, budget, mode, False)]
    assert len({len(plan) for plan in plans}) == 1  # every pass has collectives in it
    seen = []
    for plan in plans:
        for turn in plan:
            assert turn.batch
            if turn.idle:
                continue
            for (index, members), part in turn.batch:
                assert part.uid == batch[index].uid
                for k, suffix in zip(members, part.suffixes, strict=True):
                    whole = batch[index].suffixes[k]
                    np.testing.assert_array_equal(suffix.token_ids_T, whole.token_ids_T)
                seen += [(index, k) for k in members]
    assert sorted(seen) == [(i, k) for i, g in enumerate(batch) for k in range(len(g.suffixes))]
    assert not any(
        turn.idle for turn in plans[int(np.argmax([sum(not t.idle for t in p) for p in plans]))]
    )


@pytest.mark.parametrize("budget", [1, 200])
@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_pass_has_pictures_on_all_ranks_or_on_none(budget: int, offload: bool, mode: str) -> None:
    plans = [share.turns for share in shares(GROUPS, 3, budget, mode, offload)]
    for turns in zip(*plans, strict=True):
        through = {
            t.seen is not None or any(p.prompt.pixel_values is not None for p in t.parts)
            for t in turns
        }
        assert len(through) == 1
        for turn in turns:
            if turn.seen is not None:
                assert turn.seen.pixel_values is not None
                assert all(p.prompt.pixel_values is None for p in turn.parts)
    last = [plan[-1] for plan in plans]
    pictures = any(
        t.seen is not None or any(p.prompt.pixel_values is not None for p in t.parts) for t in last
    )
    assert pictures or not offload  # the optimizer gets gradients of that pass's weights alone


@pytest.mark.parametrize("ranks", [1, 2])
def test_with_the_optimizer_elsewhere_the_last_pass_goes_through_the_tower(ranks: int) -> None:
    """The longest prompts come last, and here they are texts."""
    ids = np.zeros(900, np.int64)
    long = [replace(g, prompt=EncodedPrompt(ids, ids)) for g in TEXTS]
    for offload in (False, True):
        for share in shares([*GROUPS, *long], ranks, 1000, "shared_prefix", offload):
            last = share.turns[-1]
            assert all(p.prompt.pixel_values is None for p in last.parts)
            assert (last.seen is not None) is offload


def test_texts_alone_go_through_no_tower() -> None:
    for offload in (False, True):
        turns = [
            t for share in shares(TEXTS, 2, 100, "shared_prefix", offload) for t in share.turns
        ]
        assert all(t.seen is None for t in turns)
    assert isinstance(GROUPS[0].prompt.pixel_values, torch.Tensor)


def test_who_has_no_picture_is_shown_the_smallest_and_who_has_no_work_the_shortest() -> None:
    """Both are computed for nothing, and a picture travels to every rank that is shown it."""
    plain = np.zeros(4, np.int64)

    def group(name: str, response: int, side: int = 0) -> TrainGroup:
        pixels = torch.zeros(side * side, 8) if side else None
        grid = torch.tensor([[1, side, side]]) if side else None
        prompt = EncodedPrompt(plain, plain, pixels, grid)
        zeros = np.zeros(response, np.float32)
        ids, mask = np.zeros(response, np.int32), np.ones(response, bool)
        return TrainGroup(name, "plain", prompt, (Suffix(ids, mask, zeros, zeros),))

    groups = [group("large", 40, side=8), group("small", 30, side=2), group("text", 20)]
    for order in (groups, groups[::-1]):
        plans = shares(order, 4, 60, "shared_prefix", False)
        turns = [turn for share in plans for turn in share.turns]
        shown = [turn.seen for turn in turns if turn.seen is not None]
        assert shown
        assert {len(p.pixel_values) for p in shown} == {4}
        idle = [turn for turn in turns if turn.idle]
        assert idle
        assert {part.uid for turn in idle for part in turn.parts} == {"text"}


def test_the_bytes_of_a_share_are_those_of_each_prompt_once() -> None:
    (share,) = shares(GROUPS[:1], 1, 1, "shared_prefix", False)  # cut into its responses
    parts = [part for turn in share.turns for part in turn.parts]
    assert len(parts) == 2
    arrays = sum(
        a.nbytes
        for part in parts
        for s in part.suffixes
        for a in (s.token_ids_T, s.mask_T, s.weights_T, s.sampler_logp_T, s.old_logp_T)
        if a is not None
    )
    prompt = GROUPS[0].prompt
    assert share.nbytes == arrays + prompt.nbytes + sum(map(len, prompt.images))
