"""The chunked delta rule is the rule taken token by token, over chunk bounds and from any state."""

import sys
from types import SimpleNamespace

import pytest
import torch

from zppo_core.errors import UserError
from zppo_core.models.qwen3_5.gated_delta import (
    CHUNK,
    choose_kernel,
    gated_delta,
    gated_delta_step,
)


def inputs(length: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k = drawn(2, length, 3, 8), drawn(2, length, 3, 8)
    v, state = drawn(2, length, 3, 5), drawn(2, 3, 8, 5)
    g = -torch.rand(2, length, 3, generator=generator, dtype=torch.float64) * 0.2
    beta = torch.rand(2, length, 3, generator=generator, dtype=torch.float64)
    return q, k, v, g, beta, state


def by_hand(q, k, v, g, beta, state):
    """S <- exp(g) S + beta k (v - k S exp(g)); out = q S, with q and k of length 1."""
    q = q / q.norm(dim=-1, keepdim=True) * q.shape[-1] ** -0.5
    k = k / k.norm(dim=-1, keepdim=True)
    out = []
    for t in range(q.shape[1]):
        state = state * g[:, t].exp()[..., None, None]
        seen = torch.einsum("bhd,bhde->bhe", k[:, t], state)
        delta = (v[:, t] - seen) * beta[:, t].unsqueeze(-1)
        state = state + torch.einsum("bhd,bhe->bhde", k[:, t], delta)
        out.append(torch.einsum("bhd,bhde->bhe", q[:, t], state))
    return torch.stack(out, 1), state


@pytest.mark.parametrize("length", [1, 7, 8, 9, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_chunks_are_the_rule_token_by_token(length: int) -> None:
    given = inputs(length)
    for mine, theirs in zip(gated_delta(*given), by_hand(*given), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_one_token_at_a_time_is_the_rule_too() -> None:
    q, k, v, g, beta, state = inputs(5)
    expected, end = by_hand(q, k, v, g, beta, state)
    for t in range(5):
        now = slice(t, t + 1)
        out, state = gated_delta_step(
            q[:, now], k[:, now], v[:, now], g[:, now], beta[:, now], state
        )
        assert torch.allclose(out[:, 0], expected[:, t], atol=1e-5)
    assert torch.allclose(state, end, atol=1e-5)


def test_a_sequence_cut_in_two_goes_on_from_its_state() -> None:
    q, k, v, g, beta, state = inputs(CHUNK + 20)
    whole, end = gated_delta(q, k, v, g, beta, state)
    cut = 31
    first, middle = gated_delta(*(x[:, :cut] for x in (q, k, v, g, beta)), state)
    second, last = gated_delta(*(x[:, cut:] for x in (q, k, v, g, beta)), middle)
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-5)
    assert torch.allclose(last, end, atol=1e-5)


@pytest.mark.parametrize(
    ("hopper", "since_3_4", "since_3_7_1", "refused"),
    [
        (True, True, False, True),
        (True, True, True, False),
        (True, False, False, False),
        (False, True, False, False),
    ],
)
def test_a_triton_that_gives_wrong_gradients_is_refused_before_rollouts(
    monkeypatch, hopper, since_3_4, since_3_7_1, refused
) -> None:
    kernels = SimpleNamespace(chunk_gated_delta_rule=lambda *_, **__: None)
    flags = SimpleNamespace(
        IS_NVIDIA_HOPPER=hopper, TRITON_ABOVE_3_4_0=since_3_4, TRITON_ABOVE_3_7_1=since_3_7_1
    )
    for name, module in {
        "fla": SimpleNamespace(),
        "fla.ops": SimpleNamespace(),
        "fla.ops.common": SimpleNamespace(chunk_o=flags),
        "fla.ops.gated_delta_rule": kernels,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    cuda = torch.device("cuda")
    if refused:
        with pytest.raises(UserError, match=r"Triton 3.4 to 3.7.0; pip install -e '.\[gpu\]'"):
            choose_kernel(cuda)
    else:
        assert choose_kernel(cuda)[1] == "flash-linear-attention"
    assert choose_kernel(torch.device("cpu"))[1] == "torch"
