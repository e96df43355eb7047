"""Losses of rivals through the trainer: micro-batches change nothing, and old ratios are 1."""

from dataclasses import replace

import pytest
import torch
import world

MIXED = [2, 1, 4, 3, 2]


def with_old(groups, gap: float):
    """The groups with old log-probabilities that differ from the current ones by about `gap`."""
    scores = world.trainer(world.model(torch.float64)).score(groups)
    return [
        g.with_old_logp([s + gap * (i + 1) for i, s in enumerate(row)])
        for g, row in zip(groups, scores, strict=True)
    ]


@pytest.mark.parametrize("objective", ["gspo", "cispo"])
def test_micro_batches_do_not_change_a_rivals_gradient(objective: str) -> None:
    groups = with_old(world.groups(world.prompts(), MIXED), 0.02)
    gradients, losses = [], []
    for budget in (100_000, 200):
        model = world.model(torch.float64)
        metrics = world.trainer(model, budget=budget, objective=objective).update(groups)
        gradients.append(world.gradient(model))
        losses.append(metrics.loss)
        assert (metrics.micro_batches > 1) is (budget == 200)
    assert world.relative(*gradients) < 1e-9
    assert losses[0] == pytest.approx(losses[1])
    assert gradients[0].norm() > 0


@pytest.mark.parametrize("objective", ["gspo", "cispo"])
def test_at_the_old_weights_a_rivals_gradient_is_the_surrogates(objective: str) -> None:
    groups = world.groups(world.prompts(), MIXED)
    # one weight a response, as advantages are
    groups = [
        replace(g, suffixes=tuple(replace(s, old_logp_T=None) for s in g.suffixes)) for g in groups
    ]
    gradients = []
    for name in (objective, "surrogate"):
        model = world.model(torch.float64)
        world.trainer(model, objective=name).update(groups)
        gradients.append(world.gradient(model))
    assert world.relative(*gradients) < 1e-9
