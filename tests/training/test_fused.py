"""What is compiled on a GPU can be traced as a whole, and computes what is written."""

import inspect

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from zppo_core.models.fused import fused
from zppo_core.models.qwen3_5 import pointwise
from zppo_core.training import lm_head

WIDTH, WORDS = 32, 40


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


def inputs(name: str, length: int) -> tuple[object, ...]:
    heads = drawn(2, 4, length, WIDTH)
    turned = drawn(2, 1, length, WIDTH // 2), drawn(2, 1, length, WIDTH // 2)
    targets, grad = torch.arange(length), torch.linspace(-1, 1, length)
    head = (drawn(length, WIDTH), drawn(WORDS, WIDTH), None, targets, torch.tensor([38, 39]))
    return {
        "centred_norm": (drawn(2, length, WIDTH), drawn(WIDTH), 1e-6),
        "gated_norm": (heads, heads + 1, drawn(WIDTH), 1e-6),
        "swiglu": (drawn(2, length, WIDTH), drawn(2, length, WIDTH) + 1),
        "log_decay": (drawn(2, length, 4), drawn(4), drawn(4).float()),
        "opened": (drawn(2, length, WIDTH), drawn(2, length, WIDTH) + 1),
        "rotated": (heads, *turned),
        "narrow_sums": head,
        "narrow_pull": (*head, torch.full((length,), 5.0), grad),
    }[name]


def leaves_of(name: str, length: int) -> list[object]:
    """Inputs that take gradients where the function is part of a graph."""
    learned = not name.startswith("narrow_")
    wants = lambda t: learned and isinstance(t, torch.Tensor) and t.is_floating_point()  # noqa: E731
    return [t.clone().requires_grad_() if wants(t) else t for t in inputs(name, length)]


NAMES = ("centred_norm", "gated_norm", "swiglu", "log_decay", "opened", "rotated")


@pytest.mark.parametrize("name", [*NAMES, "narrow_sums", "narrow_pull"])
def test_a_fused_function_is_one_graph_for_every_length_with_its_own_gradients(name) -> None:
    function = inspect.unwrap(getattr(pointwise, name, None) or getattr(lm_head, name))
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, dynamic=True, fullgraph=True, backend=counter)
    for length in (6, 11, 17):
        results = []
        for way in (function, compiled):
            leaves = leaves_of(name, length)
            out = way(*leaves)
            tensors = list(out) if isinstance(out, tuple) else [out]
            if tensors[0].requires_grad:
                torch.autograd.backward(tensors, [torch.ones_like(t) for t in tensors])
                tensors += [t.grad for t in leaves if isinstance(t, torch.Tensor)]
            results.append([t.detach() for t in tensors])
        for written, traced in zip(*results, strict=True):
            assert written.dtype == traced.dtype
            assert torch.allclose(written.float(), traced.float(), rtol=2**-7, atol=1e-3)
    assert counter.frame_count == 1


def test_a_cpu_runs_what_is_written_and_a_gpu_the_compiled(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda f, **named: asked.append(f) or (lambda x: -f(x)))

    class OnGpu(torch.Tensor):
        is_cuda = True

    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    both = fused(double)
    assert both(torch.ones(1)).item() == 2
    assert not asked
    for _ in range(2):
        assert both(torch.ones(1).as_subclass(OnGpu)).item() == -2
    assert asked == [double]
