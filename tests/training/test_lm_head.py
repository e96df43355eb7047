import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("biased", [False, True])
def test_half_precision_logits_have_float32_sums_and_gradients(
    monkeypatch, chunk: int, biased: bool
) -> None:
    monkeypatch.setattr(lm_head, "chunk_tokens", lambda *_: chunk)
    torch.manual_seed(0)
    forbidden = torch.tensor([3, 17])
    targets = torch.randint(4, 17, (20,))
    leaves = [t.bfloat16() for t in (torch.randn(20, 8), 3 * torch.randn(30, 8), torch.randn(30))]
    pull = torch.randn(20)
    hidden, weight, bias = (t.clone().requires_grad_() for t in leaves)
    logp, entropy = log_probs(hidden, weight, bias if biased else None, targets, forbidden)
    (logp * pull).sum().backward()
    assert logp.dtype == entropy.dtype == torch.float32

    # the same logits, rounded to bfloat16, in float64 from there on
    logits = torch.nn.functional.linear(leaves[0], leaves[1], leaves[2] if biased else None)
    logits = logits.double().requires_grad_()
    masked = logits.index_fill(1, forbidden, -torch.inf).log_softmax(-1)
    expected = masked.gather(1, targets.unsqueeze(1)).squeeze(1)
    (expected * pull).sum().backward()
    assert torch.allclose(logp.double(), expected, rtol=0, atol=1e-5)
    p = masked.exp()
    assert torch.allclose(
        entropy.double(), -(p * masked.masked_fill(p == 0, 0.0)).sum(-1), rtol=0, atol=1e-5
    )
    grad = logits.grad
    found = [hidden.grad, weight.grad] + ([bias.grad] if biased else [])
    wanted = [grad @ leaves[1].double(), grad.T @ leaves[0].double(), grad.sum(0)]
    for mine, theirs in zip(found, wanted, strict=False):
        assert (mine.double() - theirs).norm() < 0.01 * theirs.norm()
    assert (weight.grad[forbidden] == 0).all()


class Traffic(TorchDispatchMode):
    """Bytes of whole chunks of logits that operations read and write; indexing touches few."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.elements, self.bytes = elements, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not any(word in str(function) for word in ("index", "gather", "permute")):
            tensors = [t for t in (*args, result) if isinstance(t, torch.Tensor)]
            self.bytes += sum(t.nbytes for t in tensors if t.numel() == self.elements)
        return result


def test_half_precision_logits_are_read_and_written_seldom() -> None:
    """64 bytes each, in forward and backward; 108 where they are made float32 first."""
    tokens, vocabulary, width = 64, 20_000, 8
    hidden, weight = (
        torch.randn(n, width, dtype=torch.bfloat16, requires_grad=True)
        for n in (tokens, vocabulary)
    )
    targets = torch.randint(0, vocabulary - 5, (tokens,))
    with Traffic(tokens * vocabulary) as traffic:
        logp, _ = log_probs(hidden, weight, None, targets, torch.tensor([vocabulary - 1]))
        logp.sum().backward()
    assert traffic.bytes == 64 * tokens * vocabulary


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


@pytest.mark.parametrize("which", ["log_probs", "jensen_shannon"])
def test_the_heads_gradient_is_summed_wider_than_the_head_is(monkeypatch, which: str) -> None:
    """Chunk by chunk in bfloat16 a sum would stop growing at some hundred times a part."""
    monkeypatch.setattr(lm_head, "chunk_tokens", lambda *_: 4)  # a divergence takes a fourth
    torch.manual_seed(0)
    count, forbidden = 3000, torch.tensor([0])
    hidden = torch.randn(1, 8).expand(count, 8).bfloat16().clone()
    weight = torch.randn(16, 8).bfloat16().requires_grad_()
    if which == "log_probs":
        targets = torch.full((count,), 5)
        log_probs(hidden, weight, None, targets, forbidden)[0].sum().backward()
        whole = weight.grad.float()
        weight.grad = None
        log_probs(hidden[:1], weight, None, targets[:1], forbidden)[0].sum().backward()
    else:
        other = torch.randn(16, 8).bfloat16()
        seen = hidden.flip(1)
        lm_head.jensen_shannon(hidden, weight, seen, other, forbidden)[0].sum().backward()
        whole = weight.grad.float()
        weight.grad = None
        lm_head.jensen_shannon(hidden[:1], weight, seen[:1], other, forbidden)[0].sum().backward()
    one = weight.grad.float()
    assert (whole - count * one).norm() < 0.02 * (count * one).norm()
