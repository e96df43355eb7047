"""Half precision is widened where it is read; what comes of it is that of float64, rounded."""

import pytest
import torch

from zppo_core.models.qwen3_5 import pointwise


@pytest.mark.parametrize("shape", [(1, 7, 64), (2, 3, 5, 32)])
def test_a_norm_of_half_precision_is_that_of_float64_with_its_gradients(shape) -> None:
    torch.manual_seed(0)
    x, weight = (3 * torch.randn(shape)).bfloat16(), (0.3 * torch.randn(shape[-1])).bfloat16()
    pull = torch.randn(shape).bfloat16()
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        leaves = [t.to(dtype, copy=True).requires_grad_() for t in (x, weight)]
        out = pointwise.centred_norm(*leaves, 1e-6)
        assert out.dtype == dtype
        out.backward(pull.to(dtype))
        results.append([out.detach(), *(t.grad for t in leaves)])
    for narrow, exact in zip(*results, strict=True):
        # half of the last bit of eight
        assert torch.allclose(narrow.double(), exact, rtol=2**-8, atol=1e-3)


def test_a_norm_of_few_values_is_not_without_its_epsilon() -> None:
    zeros = torch.zeros(1, 4, dtype=torch.bfloat16, requires_grad=True)
    pointwise.centred_norm(zeros, torch.zeros(4, dtype=torch.bfloat16), 1e-6).sum().backward()
    assert torch.isfinite(zeros.grad).all()
    assert zeros.grad.abs().max().item() == pytest.approx(1e3, rel=0.01)  # 1 / sqrt(eps)


@pytest.mark.parametrize("weight_dtype", [torch.bfloat16, torch.float32])
def test_a_gated_norm_of_half_precision_is_that_of_float64_with_its_gradients(weight_dtype) -> None:
    torch.manual_seed(0)
    x, gate, pull = ((3 * torch.randn(2, 5, 4, 32)).bfloat16() for _ in range(3))
    weight = (1 + 0.3 * torch.randn(32)).to(weight_dtype)
    results = []
    for dtype in (None, torch.float64):
        leaves = [t.to(dtype or t.dtype, copy=True).requires_grad_() for t in (x, gate, weight)]
        out = pointwise.gated_norm(*leaves, 1e-6)
        assert out.dtype == (dtype or x.dtype)
        out.backward(pull.to(out.dtype))
        results.append([out.detach(), *(t.grad for t in leaves)])
    for narrow, exact in zip(*results, strict=True):
        assert torch.allclose(narrow.double(), exact, rtol=2**-8, atol=1e-3)
