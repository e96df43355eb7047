"""What travels between a step and its update workers arrives as it was."""

from dataclasses import replace

import numpy as np
import torch
import world

from zppo_core.cluster import messages as wire

FIELDS = ("token_ids_T", "mask_T", "weights_T", "sampler_logp_T", "old_logp_T")


def test_groups_arrive_with_every_field_of_every_suffix() -> None:
    rng = np.random.default_rng(0)
    groups = world.groups(world.prompts(), [2, 1, 4, 3, 2])
    kinds = ("plain", "replay", "bcq", "ncq", "prefix")
    sent = []
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
        sent.append(replace(group, kind=kind, suffixes=suffixes))
    header, arrays = wire.unpack(wire.pack_groups({"command": "update", "tokens": 7}, sent))
    assert (header["command"], header["tokens"]) == ("update", 7)
    arrived = wire.groups_of(header, arrays)
    assert [(g.uid, g.kind) for g in arrived] == [(g.uid, g.kind) for g in sent]
    pictures = 0
    for a, b in zip(sent, arrived, strict=True):
        np.testing.assert_array_equal(a.prompt.input_ids_P, b.prompt.input_ids_P)
        np.testing.assert_array_equal(a.prompt.mm_token_type_ids_P, b.prompt.mm_token_type_ids_P)
        for name in ("pixel_values", "image_grid_thw"):
            mine, theirs = getattr(a.prompt, name), getattr(b.prompt, name)
            assert (mine is None) is (theirs is None)
            if mine is not None:
                pictures += 1
                assert torch.equal(mine, theirs)
        for s, t in zip(a.suffixes, b.suffixes, strict=True):
            for name in FIELDS:
                mine, theirs = getattr(s, name), getattr(t, name)
                assert (mine is None) is (theirs is None)
                if mine is not None:
                    np.testing.assert_array_equal(mine, theirs)
                    assert mine.dtype == theirs.dtype
    assert pictures > 2


def test_scores_arrive_by_group_and_member() -> None:
    scores = [(np.arange(3.0), np.arange(2.0) + 7), (np.arange(4.0) - 1,)]
    arrived = wire.scores_of(wire.pack_scores(scores))
    assert [len(row) for row in arrived] == [2, 1]
    for mine, theirs in zip(scores, arrived, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
