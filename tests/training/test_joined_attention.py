"""Attention over a prompt and a response in two parts is attention over both at once."""

import pytest
import torch

from zppo_core.models.qwen3_5.joined_attention import Stretch, joined_attention
from zppo_core.models.qwen3_5.packing import Bounds

HEADS, KEY_HEADS, DIM = 4, 2, 8
CPU = torch.device("cpu")


def whole(q, prompt, own, members):
    """One masked softmax a response over its group's prompt and itself."""
    out, at = [], 0
    for start, end, length in members:
        k = torch.cat([prompt[0][start:end], own[0][at : at + length]])
        v = torch.cat([prompt[1][start:end], own[1][at : at + length]])
        mask = torch.ones(length, len(k), dtype=torch.bool).tril(end - start)
        a, b, c = (t.transpose(0, 1) for t in (q[at : at + length], k, v))
        out.append(
            torch.nn.functional.scaled_dot_product_attention(
                a, b, c, attn_mask=mask, scale=0.3, enable_gqa=True
            ).transpose(0, 1)
        )
        at += length
    return torch.cat(out)


@pytest.mark.parametrize(
    ("prompts", "responses"),
    [([5], [[3, 1, 4]]), ([2, 7, 1], [[1], [6, 2], [3, 3, 1]]), ([3], [[9]])],
)
def test_a_join_has_the_output_and_gradients_of_one_softmax(prompts, responses) -> None:
    torch.manual_seed(0)
    lengths = [r for group in responses for r in group]
    shape = lambda n, heads: torch.randn(n, heads, DIM, dtype=torch.float64, requires_grad=True)  # noqa: E731
    q = shape(sum(lengths), HEADS)
    prompt = (shape(sum(prompts), KEY_HEADS), shape(sum(prompts), KEY_HEADS))
    own = (shape(sum(lengths), KEY_HEADS), shape(sum(lengths), KEY_HEADS))
    each = Bounds.of(lengths, CPU)
    group = Bounds.of([sum(r) for r in responses], CPU)
    stretches = [
        Stretch(each, each, causal=True),
        Stretch(group, Bounds.of(prompts, CPU), causal=False),
    ]
    joined = joined_attention(q, [own, prompt], stretches, 0.3)

    starts = [sum(prompts[:i]) for i in range(len(prompts) + 1)]
    members = [(starts[g], starts[g + 1], r) for g, group in enumerate(responses) for r in group]
    once = whole(q, prompt, own, members)
    torch.testing.assert_close(joined, once, rtol=0, atol=1e-12)
    tensors = [q, *prompt, *own]
    seed = torch.randn_like(once)
    for a, b in zip(
        torch.autograd.grad(joined, tensors, seed),
        torch.autograd.grad(once, tensors, seed),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_stretch_without_keys_adds_nothing() -> None:
    torch.manual_seed(0)
    q = torch.randn(5, HEADS, DIM, dtype=torch.float64)
    k, v = (torch.randn(5, KEY_HEADS, DIM, dtype=torch.float64) for _ in range(2))
    each, nothing = Bounds.of([2, 3], CPU), Bounds.of([0, 0], CPU)
    alone = joined_attention(q, [(k, v)], [Stretch(each, each, causal=True)], 0.3)
    beside = joined_attention(
        q,
        [(k, v), (k[:0], v[:0])],
        [Stretch(each, each, causal=True), Stretch(each, nothing, causal=False)],
        0.3,
    )
    torch.testing.assert_close(alone, beside)
