"""Losses of rivals, by an independent sum over responses and by their gradients."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

from zppo_core.algorithm.losses import cispo, gspo, luffy
from zppo_core.config import LossConfig, load

LENGTHS = [3, 1, 0, 5, 4]
BOUNDS = LossConfig(clip_low=0.2, clip_high=0.3)


@dataclass
class Given:
    """`Tokens` of given values."""

    logp: torch.Tensor
    old_logp: torch.Tensor
    advantages: torch.Tensor
    lengths: list[int]
    given: torch.Tensor


def given(spread: float = 0.4, seed: int = 0) -> Given:
    """Tokens of five responses, one of them without any; one advantage a response."""
    rng, n = np.random.default_rng(seed), sum(LENGTHS)
    old = torch.tensor(-rng.random(n) - 0.1)
    logp = (old + torch.tensor(rng.normal(0, spread, n))).requires_grad_()
    advantages = np.repeat([1.5, -0.5, 1.0, -1.0, 0.7], LENGTHS)
    from_other = torch.tensor(np.repeat([False, False, True, False, True], LENGTHS))
    return Given(logp, old, torch.tensor(advantages), LENGTHS, from_other)


def responses(tokens: Given) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """New and old log-probabilities of each response that has tokens, and its advantage."""
    ends = np.cumsum([0, *tokens.lengths])
    logp, old = tokens.logp.detach().numpy(), tokens.old_logp.numpy()
    return [(logp[a:b], old[a:b], float(tokens.advantages[a])) for a, b in pairwise(ends) if b > a]


@pytest.mark.parametrize("seed", range(5))
def test_gspo_is_the_clipped_ratio_of_whole_responses(seed: int) -> None:
    tokens = given(seed=seed)
    terms = gspo(tokens, BOUNDS)
    (gradient,) = torch.autograd.grad(terms.sum(), tokens.logp)
    expected, slopes = [], []
    for new, old, advantage in responses(tokens):
        ratio = (np.exp(new).prod() / np.exp(old).prod()) ** (1 / len(new))
        objective = min(ratio * advantage, min(max(ratio, 0.8), 1.3) * advantage)
        expected += [-objective] * len(new)
        cut = (advantage > 0 and ratio > 1.3) or (advantage < 0 and ratio < 0.8)
        slopes += [0.0 if cut else -ratio * advantage] * len(new)
    assert terms.tolist() == pytest.approx(expected)
    assert gradient.tolist() == pytest.approx(slopes)


def test_gspo_clips_a_response_whose_tokens_alone_would_not_be() -> None:
    tokens = given()
    with torch.no_grad():
        tokens.logp.copy_(tokens.old_logp + 0.01)
    (gradient,) = torch.autograd.grad(gspo(tokens, LossConfig(3e-4, 4e-4)).sum(), tokens.logp)
    clipped = tokens.advantages > 0  # the ratio is 1.01 for all
    assert (gradient[clipped] == 0).all()
    assert (gradient[~clipped] != 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_cispo_weights_the_log_probability_and_drops_no_token(seed: int) -> None:
    tokens = given(spread=1.5, seed=seed)
    terms = cispo(tokens, BOUNDS)
    (gradient,) = torch.autograd.grad(terms.sum(), tokens.logp)
    expected, slopes = [], []
    for new, old, advantage in responses(tokens):
        weights = [min(np.exp(n) / np.exp(o), 1.3) for n, o in zip(new, old, strict=True)]
        expected += [-w * advantage * n for w, n in zip(weights, new, strict=True)]
        slopes += [-w * advantage for w in weights]
    assert terms.tolist() == pytest.approx(expected)
    assert gradient.tolist() == pytest.approx(slopes)
    assert (gradient != 0).all()
    assert any(
        s / a == pytest.approx(-1.3)
        for s, a in zip(slopes, tokens.advantages.tolist(), strict=True)
    )


def test_luffy_shapes_the_probability_of_given_tokens_and_clips_nothing() -> None:
    tokens = given(spread=1.5)
    terms = luffy(tokens, BOUNDS)
    (gradient,) = torch.autograd.grad(terms.sum(), tokens.logp)
    seen = zip(tokens.logp.tolist(), tokens.old_logp.tolist(), tokens.given.tolist(), strict=True)
    for i, (new, old, other) in enumerate(seen):
        advantage, p = float(tokens.advantages[i]), np.exp(new)
        value = p / (p + 0.1) if other else p / np.exp(old)
        slope = 0.1 * p / (p + 0.1) ** 2 if other else p / np.exp(old)
        assert terms[i].item() == pytest.approx(-advantage * value)
        assert gradient[i].item() == pytest.approx(-advantage * slope)
    assert tokens.given.any()


def test_a_methods_settings_go_over_the_preset_and_under_the_users() -> None:
    plain, ours = load("zone", ["run.method=grpo"]), load("zone", ["run.method=gspo"])
    assert (plain.loss.clip_low, plain.advantage.norm) == (0.2, "nonzero")
    assert (ours.loss.clip_low, ours.loss.clip_high) == (3e-4, 4e-4)
    assert ours.advantage.norm == "grpo"
    assert ours.optimizer == plain.optimizer
    users = load("zone", ["loss.clip_low=0.1", "run.method=gspo"])
    assert (users.loss.clip_low, users.loss.clip_high) == (0.1, 4e-4)
