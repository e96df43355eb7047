"""AdamW with bfloat16 moments: the same optimizer, its memory of gradients rounded once a step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import world

from zppo_core.config import OptimizerConfig, load
from zppo_core.errors import UserError
from zppo_core.store.checkpoint import latest_checkpoint, save_checkpoint
from zppo_core.store.objects import LocalStore
from zppo_core.training.moments import KEPT, LowAdamW
from zppo_core.training.updater import adamw

LOW = OptimizerConfig(lr=1e-3, weight_decay=0.1, moments="bfloat16")


def steps(settings: OptimizerConfig, gradients: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """A weight of ones after these gradients (steps, entries), and the optimizer's state of it."""
    weight = torch.ones(gradients.shape[1], requires_grad=True)
    optimizer = adamw([weight], settings)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach(), optimizer.state[weight]


def test_float32_moments_are_the_default_and_torchs_own():
    assert OptimizerConfig().moments == "float32"
    assert type(adamw([torch.zeros(1)], OptimizerConfig())) is torch.optim.AdamW
    with pytest.raises(UserError, match="one of float32, bfloat16"):
        load("nano", ["optimizer.moments=float16"])


def test_steps_are_those_of_float32_but_for_the_rounding_of_the_moments():
    gradients = torch.randn(20, 1000, generator=torch.Generator().manual_seed(0))
    low, state = steps(LOW, gradients)
    whole, _ = steps(replace(LOW, moments="float32"), gradients)
    moved = (whole - 1).norm()
    assert 1e-5 < (low - whole).norm() / moved < 0.02
    assert {state[m].dtype for m in KEPT} == {torch.bfloat16}
    assert int(state["step"]) == 20
    # the first step has no moments to round: only the arithmetic's order differs
    one, other = (steps(s, gradients[:1])[0] for s in (LOW, replace(LOW, moments="float32")))
    assert torch.allclose(one, other, atol=1e-7)


def test_each_step_is_computed_in_float32_and_rounded_once():
    gradients = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    weight, first, second = (torch.full((50,), x) for x in (1.0, 0.0, 0.0))
    beta1, beta2 = LOW.betas
    for t, g in enumerate(gradients, 1):
        m = beta1 * first + (1 - beta1) * g
        v = beta2 * second + (1 - beta2) * g * g
        first, second = m.bfloat16().float(), v.bfloat16().float()
        weight = weight * (1 - LOW.lr * LOW.weight_decay)
        weight = weight - LOW.lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + LOW.eps)
    found, state = steps(LOW, gradients)
    assert torch.allclose(found, weight, atol=1e-6)
    assert torch.equal(state["exp_avg"].float(), first)


def test_a_second_moment_hardly_shrinks_as_decision_0033_says():
    """After large gradients small ones: float32 forgets them, bfloat16 moments do not."""
    gradients = torch.cat([torch.full((1, 4), 1.0), torch.full((1000, 4), 1e-3)])
    kept = steps(LOW, gradients)[1]["exp_avg_sq"].float()
    known = steps(replace(LOW, moments="float32"), gradients)[1]["exp_avg_sq"]
    assert float(known[0]) == pytest.approx(1e-3 * 0.999**1000, rel=0.01)
    assert float(kept[0]) == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_with_them_goes_on_bit_for_bit(tmp_path: Path, dtype: torch.dtype):
    groups = world.groups(world.prompts(), [2, 2, 2, 2, 2])
    model = world.model(dtype)
    first = world.trainer(model, optimizer=LOW)
    first.update(groups)
    assert isinstance(first.optimizer, LowAdamW)
    store = LocalStore(tmp_path)
    save_checkpoint(store, "", 1, first.write_state, keep=1)
    other = world.model(dtype)
    other.load_state_dict(model.state_dict())
    second = world.trainer(other, optimizer=LOW)
    found = latest_checkpoint(store, "")
    assert found is not None
    second.read_state(found)
    for trainer in (first, second):
        trainer.update(groups)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for trainer in (first, second):
        moments = [s[m] for s in trainer.optimizer.state.values() for m in KEPT]
        assert {t.dtype for t in moments} == {torch.bfloat16}


def test_what_had_float32_moments_goes_on_with_them_rounded():
    weight = torch.ones(3, requires_grad=True)
    optimizer = adamw([weight], LOW)
    weight.grad = torch.ones(3)
    whole = {
        "step": torch.tensor(4.0),
        "exp_avg": torch.full((3,), 0.1),
        "exp_avg_sq": torch.full((3,), 0.2),
    }
    optimizer.state[weight] = whole
    optimizer.step()
    assert {optimizer.state[weight][m].dtype for m in KEPT} == {torch.bfloat16}


def test_every_term_of_a_step_is_where_adamw_has_it():
    """With settings so large that the order of decay, eps and rounding shows."""
    large = replace(LOW, lr=0.5, weight_decay=0.5, eps=0.3, betas=(0.6, 0.7))
    gradients = torch.tensor([[0.1, 1.0, -3.0], [0.33, -0.77, 0.01], [5.0, 0.123, 0.4]])
    weight, first, second = torch.ones(3), torch.zeros(3), torch.zeros(3)
    for t, g in enumerate(gradients, 1):
        m, v = 0.6 * first + 0.4 * g, 0.7 * second + 0.3 * g * g
        first, second = m.bfloat16().float(), v.bfloat16().float()
        size = (v / (1 - 0.7**t)).sqrt() + 0.3
        weight = weight * (1 - 0.5 * 0.5) - 0.5 * (m / (1 - 0.6**t)) / size
    found, _ = steps(large, gradients)
    assert torch.allclose(found, weight, rtol=1e-5, atol=0)
