import pytest
import torch

from zppo_core.training import lm_head
from zppo_core.training.lm_head import log_probs


def plain(hidden, weight, bias, targets, forbidden):
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits[:, forbidden] = -torch.inf
    logp = logits.log_softmax(-1)
    p = logp.exp()
    entropy = -(p * logp.masked_fill(p == 0, 0.0)).sum(-1)
    return logp.gather(1, targets.unsqueeze(1)).squeeze(1), entropy


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_give_the_plain_numbers_and_gradients(monkeypatch, chunk: int, biased: bool) -> None:
    monkeypatch.setattr(lm_head, "chunk_tokens", lambda *_: chunk)
    torch.manual_seed(0)
    forbidden = torch.tensor([3, 17])
    targets = torch.randint(4, 17, (20,))
    leaves = [torch.randn(20, 8), torch.randn(30, 8), torch.randn(30)]
    pull = torch.randn(20, dtype=torch.float64)
    results = []
    for function in (log_probs, plain):
        hidden, weight, bias = (t.double().requires_grad_() for t in leaves)
        logp, entropy = function(hidden, weight, bias if biased else None, targets, forbidden)
        (logp * pull).sum().backward()
        grads = [hidden.grad, weight.grad, *([bias.grad] if biased else [])]
        results.append([logp, entropy, *grads])
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)


def test_forbidden_tokens_have_no_probability_and_no_gradient() -> None:
    torch.manual_seed(0)
    weight = torch.randn(10, 4, requires_grad=True)
    hidden = torch.randn(5, 4)
    forbidden = torch.tensor([0, 9])
    every = torch.arange(1, 9)
    total = sum(log_probs(hidden, weight, None, t.expand(5), forbidden)[0].exp() for t in every)
    assert torch.allclose(total, torch.ones(5), atol=1e-5)
    log_probs(hidden, weight, None, every[:5], forbidden)[0].sum().backward()
    assert (weight.grad[forbidden] == 0).all()


def peak(tokens: int) -> int:
    """Most bytes alive at once in forward and backward, beside the inputs."""
    vocabulary, width = 248_320, 8
    weight = torch.randn(vocabulary, width, requires_grad=True)
    hidden = torch.randn(tokens, width, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,))
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        logp, _ = log_probs(hidden, weight, None, targets, torch.tensor([5]))
        logp.sum().backward()
    alive = highest = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            highest = max(highest, alive)
    return highest


def test_peak_memory_is_flat_in_the_number_of_tokens_at_full_vocabulary() -> None:
    few, many = peak(64), peak(256)
    assert many < 1.1 * few
    assert many < 256 * 248_320 * 4  # less than one tensor of tokens x vocabulary
