import math

import pytest
import torch
import world

from zppo_core.errors import UserError
from zppo_core.training import lm_head
from zppo_core.training.lm_head import jensen_shannon

FORBIDDEN = torch.tensor([2, 11])


def direct(hidden, weight, other_hidden, other_weight):
    """The definition, on whole tensors."""
    allowed = torch.ones(weight.shape[0], dtype=torch.bool)
    allowed[FORBIDDEN] = False
    p = (hidden @ weight.T)[:, allowed].softmax(-1)
    q = (other_hidden @ other_weight.T)[:, allowed].softmax(-1)
    m = (p + q) / 2
    divergence = 0.5 * ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1))
    return divergence, -(p * p.log()).sum(-1)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_divergence_and_gradient_are_those_of_the_definition(monkeypatch, chunk: int) -> None:
    monkeypatch.setattr(lm_head, "chunk_tokens", lambda *_: 4 * chunk)
    torch.manual_seed(0)
    leaves = [torch.randn(13, 6), torch.randn(20, 6), torch.randn(13, 8), torch.randn(20, 8)]
    pull = torch.rand(13, dtype=torch.float64)
    results = []
    for function in (lambda *a: jensen_shannon(*a, FORBIDDEN), direct):
        hidden, weight, other, other_weight = (t.double() for t in leaves)
        hidden.requires_grad_()
        weight.requires_grad_()
        divergence, entropy = function(hidden, weight, other, other_weight)
        (divergence * pull).sum().backward()
        results.append([divergence, entropy, hidden.grad, weight.grad])
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)


def test_divergence_is_zero_for_equal_models_and_at_most_ln_2() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(9, 6).double(), torch.randn(20, 6).double()
    same, _ = jensen_shannon(hidden, weight, hidden, weight, FORBIDDEN)
    assert same.abs().max() < 1e-12
    far, _ = jensen_shannon(100 * hidden, weight, -100 * hidden, weight, FORBIDDEN)
    assert far.max() <= math.log(2) + 1e-12
    assert far.max() > 0.69


def test_distillation_moves_the_student_to_its_teacher() -> None:
    student, teacher = world.model(), world.model()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    frozen = [p.clone() for p in teacher.parameters()]
    trainer = world.trainer(student, teacher=teacher, objective="on_distill")
    groups = world.groups(world.prompts(), [2, 1, 3, 2, 2])
    losses = [trainer.update(groups).loss for _ in range(6)]
    assert 0 < losses[-1] < 0.8 * losses[0] < math.log(2)
    assert all(torch.equal(a, b) for a, b in zip(frozen, teacher.parameters(), strict=True))
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("budget", [120, 400])
def test_distillation_does_not_depend_on_micro_batches(budget: int) -> None:
    gradients = []
    for tokens in (100_000, budget):
        student = world.model(torch.float64)
        teacher = world.model(torch.float64)
        with torch.no_grad():
            teacher.lm_head.weight.mul_(1.5)
        trainer = world.trainer(student, budget=tokens, teacher=teacher, objective="on_distill")
        metrics = trainer.update(world.groups(world.prompts(), [2, 1, 3, 2, 2]))
        gradients.append(world.gradient(student))
    assert metrics.micro_batches > 1
    assert world.relative(*gradients) < 1e-9


def test_distillation_without_a_teacher_is_an_error() -> None:
    trainer = world.trainer(world.model(), objective="on_distill")
    groups = world.groups(world.prompts(1, 0, 0), [1])
    with pytest.raises(UserError, match=r"teacher\.model"):
        trainer.update(groups)


def test_what_the_teacher_reads_is_computed_too() -> None:
    groups = world.groups(world.prompts(0, 2, 0), [2, 1])
    alone = world.trainer(world.model()).update(groups)
    with_teacher = world.trainer(world.model(), teacher=world.model(), objective="on_distill")
    assert with_teacher.update(groups).computed_tokens == 2 * alone.computed_tokens > 0
