"""What travels between a step and its ranks arrives as it was."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import world

from zppo_core.training.rank_plan import shares

FIELDS = ("token_ids_T", "mask_T", "weights_T", "sampler_logp_T", "old_logp_T")


def sent() -> list:
    rng = np.random.default_rng(0)
    groups = world.groups(world.prompts(), [2, 1, 4, 3, 2])
    kinds = ("plain", "replay", "bcq", "ncq", "prefix")
    made = []
    for i, (group, kind) in enumerate(zip(groups, kinds, strict=True)):
        suffixes = tuple(
            replace(
                s,
                mask_T=rng.random(len(s.token_ids_T)) < 0.5,
                sampler_logp_T=rng.normal(size=len(s.token_ids_T)).astype(np.float32),
                old_logp_T=None if i == 1 else rng.normal(size=len(s.token_ids_T)),
            )
            for s in group.suffixes
        )
        made.append(replace(group, kind=kind, suffixes=suffixes))
    return made


@pytest.mark.parametrize("known", [True, False])
def test_shares_arrive_with_every_field_and_pictures_as_they_are_encoded(known: bool) -> None:
    groups = sent()
    if not known:  # pixels of unknown origin travel themselves
        groups = [replace(g, prompt=replace(g.prompt, images=())) for g in groups]
    pictures = 0
    for share in shares(groups, 2, 100, "shared_prefix", False):
        letter = pickle.dumps(share.without_pixels())
        arrived = pickle.loads(letter).with_pixels(world.renderer().pixels)
        assert (arrived.lengths, arrived.tokens) == (share.lengths, share.tokens)
        assert len(arrived.turns) == len(share.turns)
        for mine, theirs in zip(share.turns, arrived.turns, strict=True):
            assert (mine.idle, mine.seen is None) == (theirs.idle, theirs.seen is None)
            for (piece, a), (same, b) in zip(mine.batch, theirs.batch, strict=True):
                assert (piece, a.uid, a.kind) == (same, b.uid, b.kind)
                for name in ("input_ids_P", "mm_token_type_ids_P"):
                    np.testing.assert_array_equal(getattr(a.prompt, name), getattr(b.prompt, name))
                for name in ("pixel_values", "image_grid_thw"):
                    x, y = getattr(a.prompt, name), getattr(b.prompt, name)
                    assert (x is None) is (y is None)
                    if x is not None:
                        pictures += 1
                        assert torch.equal(x, y)
                for s, t in zip(a.suffixes, b.suffixes, strict=True):
                    for name in FIELDS:
                        x, y = getattr(s, name), getattr(t, name)
                        assert (x is None) is (y is None)
                        if x is not None:
                            np.testing.assert_array_equal(x, y)
                            assert x.dtype == y.dtype
    assert pictures > 2


def test_a_rank_is_sent_its_own_groups_and_no_pixels() -> None:
    groups = sent()
    whole = sum(share.nbytes for share in shares(groups, 1, 10_000, "shared_prefix", False))
    plans = [s.without_pixels() for s in shares(groups, 2, 10_000, "shared_prefix", False)]
    assert sum(plan.nbytes for plan in plans) < 0.2 * whole
    mine = [{g.uid for turn in plan.turns if not turn.idle for g in turn.parts} for plan in plans]
    assert not mine[0] & mine[1]
    assert all(p.prompt.pixel_values is None for plan in plans for t in plan.turns for p in t.parts)


def test_pieces_of_a_group_share_its_prompt_on_both_sides() -> None:
    groups = [replace(sent()[2])]
    (share,) = shares(groups, 1, 60, "shared_prefix", False)
    letter = pickle.dumps(share.without_pixels())
    arrived = pickle.loads(letter).with_pixels(world.renderer().pixels)
    assert len(arrived.turns) > 1
    assert len({id(part.prompt) for turn in arrived.turns for part in turn.parts}) == 1
