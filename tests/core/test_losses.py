"""Section 4: the surrogate, by hand and by its invariants."""

import math
from dataclasses import dataclass

import pytest
import torch

from zppo_core.algorithm.losses import policy_loss, policy_loss_terms, surrogate
from zppo_core.config import LossConfig


def term(ratio, advantage, **kw):
    logp = torch.tensor([math.log(ratio)], dtype=torch.float64)
    a = torch.tensor([advantage], dtype=torch.float64)
    return policy_loss_terms(logp, torch.zeros(1, dtype=torch.float64), a, **kw).item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.5, 1.0, -1.28),  # clip-higher
        (0.5, 1.0, -0.5),  # no lower clip for a positive advantage
        (0.5, -1.0, 0.8),  # lower clip
        (1.5, -1.0, 1.5),
        (20.0, -1.0, 10.0),  # dual clip
        (20.0, -0.5, 5.0),
    ],
)
def test_surrogate_by_hand(ratio, advantage, expected):
    assert term(ratio, advantage) == pytest.approx(expected)


def test_gradient_is_zero_where_a_clip_is_active():
    for ratio, a in [(1.5, 1.0), (0.5, -1.0), (20.0, -1.0)]:
        logp = torch.tensor([math.log(ratio)], requires_grad=True)
        policy_loss_terms(logp, torch.zeros(1), torch.tensor([a])).sum().backward()
        assert logp.grad.item() == 0.0


def test_mean_is_over_tokens_not_over_sequences():
    logp = torch.zeros(2, 3, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    loss = policy_loss(logp, logp, torch.tensor([1.0, -1.0], dtype=torch.float64), mask)
    assert loss.item() == pytest.approx((-3 + 1) / 4)


def test_masked_positions_have_no_loss_and_no_gradient_whatever_they_hold():
    logp = torch.tensor([[0.1, float("-inf")]], requires_grad=True)
    old = torch.tensor([[0.0, float("nan")]])
    mask = torch.tensor([[True, False]])
    loss = policy_loss(logp, old, torch.tensor([1.0]), mask)
    loss.backward()
    assert torch.isfinite(loss)
    assert logp.grad[0, 1].item() == 0.0
    assert logp.grad[0, 0].item() != 0.0


def test_empty_mask_is_zero_loss():
    z = torch.zeros(1, 2)
    assert policy_loss(z, z, torch.ones(1), torch.zeros(1, 2, dtype=torch.bool)).item() == 0.0


def test_only_the_difference_to_the_old_log_probability_counts():
    logp = torch.tensor([-1.2, -0.3, -2.0], dtype=torch.float64)
    old = torch.tensor([-1.0, -0.9, -2.1], dtype=torch.float64)
    advantages = torch.tensor([0.5, 0.5, -0.5], dtype=torch.float64)
    terms = policy_loss_terms(logp, old, advantages)
    by_hand = [-0.5 * math.exp(-0.2), -0.5 * 1.28, 0.5 * math.exp(0.1)]
    assert terms.tolist() == pytest.approx(by_hand)
    assert torch.allclose(policy_loss_terms(logp + 7, old + 7, advantages), terms)


def test_one_token_is_its_own_mean_and_the_bounds_are_those_of_table_8():
    logp = torch.full((1, 1), math.log(1.5), dtype=torch.float64)
    old, mask = torch.zeros_like(logp), torch.ones_like(logp, dtype=torch.bool)
    for advantage, expected in ((1.0, -1.28), (-1.0, 1.5)):
        a = torch.tensor([advantage], dtype=torch.float64)
        assert policy_loss(logp, old, a, mask).item() == pytest.approx(expected)
    many = torch.full((1, 1), math.log(20.0), dtype=torch.float64)
    a = torch.tensor([-1.0], dtype=torch.float64)
    assert policy_loss(many, old, a, mask).item() == pytest.approx(10.0)
    few = torch.full((1, 1), math.log(0.5), dtype=torch.float64)
    assert policy_loss(few, old, a, mask).item() == pytest.approx(0.8)


@dataclass
class Given:
    """`Tokens` of given values."""

    logp: torch.Tensor
    old_logp: torch.Tensor
    sampler_logp: torch.Tensor
    advantages: torch.Tensor


@pytest.mark.parametrize("settings", [LossConfig(), LossConfig(0.1, 0.5, 3.0)])
def test_the_surrogate_component_sums_to_the_policy_loss_of_the_sampled_tokens(settings):
    generator = torch.Generator().manual_seed(0)
    logp, old, a, sampler = (torch.randn(40, generator=generator).double() for _ in range(4))
    mask = torch.rand(40, generator=generator) < 0.7
    terms = surrogate(Given(logp[mask], old[mask], sampler[mask], a[mask]), settings)
    bounds = settings.clip_low, settings.clip_high, settings.dual_clip
    whole = policy_loss(logp, old, a, mask, *bounds)
    assert terms.shape == (int(mask.sum()),)
    assert 0 < terms.numel() < 40
    assert (terms.sum() / terms.numel()).item() == pytest.approx(whole.item(), abs=1e-12)


def test_importance_weights_are_truncated_and_multiply_a_tokens_term():
    one = torch.ones(3, dtype=torch.float64)
    tokens = Given(0.1 * one, 0 * one, torch.tensor([0.0, 1.0, -5.0]).double(), 2 * one)
    plain = surrogate(tokens, LossConfig())
    weighted = surrogate(tokens, LossConfig(importance_cap=1.5))
    expected = [1.0, math.exp(-1.0), 1.5]
    assert (weighted / plain).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("bounds", [(0.1, 0.5, 3.0), (0.3, 0.05, 1.5)])
def test_the_bounds_are_those_that_are_asked_for(bounds):
    low, high, dual = bounds
    cases = [(9.0, 1.0, -(1 + high)), (0.01, -1.0, 1 - low), (9.0, -1.0, dual), (0.01, 1.0, -0.01)]
    for ratio, advantage, expected in cases:
        asked = {"clip_low": low, "clip_high": high, "dual_clip": dual}
        assert term(ratio, advantage, **asked) == pytest.approx(expected)
        logp = torch.full((1, 1), math.log(ratio), dtype=torch.float64)
        one, mask = torch.tensor([advantage]).double(), torch.ones(1, 1, dtype=torch.bool)
        loss = policy_loss(logp, torch.zeros_like(logp), one, mask, **asked)
        assert loss.item() == pytest.approx(expected)
