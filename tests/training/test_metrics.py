"""What an update says of itself, and what its optimizer is, by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import world

from zppo_core.algorithm.train_groups import NO_UPDATE
from zppo_core.config import LossConfig, OptimizerConfig
from zppo_core.training.metrics import PartLoss, PassSums
from zppo_core.training.updater import adamw

MIXED = [2, 1, 4, 3, 2]
BOUNDS = LossConfig(clip_low=0.1, clip_high=0.4, dual_clip=1.6)


def given(seed: int = 0):
    """(trainer's model, groups) with masks, old and sampler's log-probabilities of their own."""
    rng = np.random.default_rng(seed)
    groups = world.groups(world.prompts(), MIXED)
    scores = world.trainer(world.model(torch.float64)).score(groups)
    made = []
    for group, row in zip(groups, scores, strict=True):
        suffixes = []
        for suffix, score in zip(group.suffixes, row, strict=True):
            n = len(score)
            suffixes.append(
                replace(
                    suffix,
                    mask_T=rng.random(n) < 0.7,
                    weights_T=rng.normal(size=n).astype(np.float32),
                    old_logp_T=score + rng.normal(0, 0.5, n),
                    sampler_logp_T=(score + rng.normal(0, 0.2, n)).astype(np.float32),
                )
            )
        made.append(replace(group, suffixes=tuple(suffixes)))
    return made, scores


def flat(groups, scores) -> dict[str, np.ndarray]:
    suffixes = [s for g in groups for s in g.suffixes]
    mask = np.concatenate([s.mask_T for s in suffixes])
    columns = {
        n: np.concatenate([getattr(s, n) for s in suffixes])[mask].astype(np.float64)
        for n in ("weights_T", "old_logp_T", "sampler_logp_T")
    }
    return columns | {"logp": np.concatenate([s for row in scores for s in row])[mask]}


def test_the_largest_mismatch_of_all_micro_batches_is_told() -> None:
    groups, _ = given()
    shortest = min(range(5), key=lambda i: groups[i].prompt.length)  # it comes first
    suffix = groups[shortest].suffixes[0]
    far = suffix.sampler_logp_T.copy()
    far[int(np.argmax(suffix.mask_T))] += 50.0
    suffixes = (replace(suffix, sampler_logp_T=far), *groups[shortest].suffixes[1:])
    groups[shortest] = replace(groups[shortest], suffixes=suffixes)
    metrics = world.trainer(world.model(), budget=150).update(groups)
    assert metrics.micro_batches > 1
    assert 45 < metrics.mismatch_max < 55


def test_weights_that_a_mini_batch_does_not_reach_have_their_step_too() -> None:
    """Without pictures the vision tower has no gradient: it decays all the same."""
    texts = world.groups(world.prompts(0, 2, 0), [2, 2])
    model = world.model(torch.float64)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "visual" in n}
    optimizer = OptimizerConfig(lr=0.1, weight_decay=0.5, max_grad_norm=1e9)
    world.trainer(model, optimizer=optimizer).update(texts)
    after = dict(model.named_parameters())
    assert before
    for name, weight in before.items():
        assert torch.allclose(after[name], weight * (1 - 0.1 * 0.5), rtol=1e-12)


@pytest.mark.parametrize("budget", [100_000, 150])
def test_shares_and_means_are_of_the_sampled_tokens(budget: int) -> None:
    groups, scores = given()
    trainer = world.trainer(world.model(torch.float64), budget=budget, loss=BOUNDS)
    metrics = trainer.update(groups, tokens=1000)
    c = flat(groups, scores)
    a, ratio = c["weights_T"], np.exp(c["logp"] - c["old_logp_T"])
    loss = np.maximum(-a * ratio, -a * np.clip(ratio, 0.9, 1.4))
    loss = np.where(a < 0, np.minimum(loss, -a * 1.6), loss)
    n = len(a)
    assert metrics.tokens == n
    assert metrics.groups == 5
    assert (metrics.micro_batches > 1) is (budget < 1000)
    expected = {
        "loss": loss.sum() / 1000,
        "clip_low_share": np.mean((a < 0) & (ratio < 0.9)),
        "clip_high_share": np.mean((a > 0) & (ratio > 1.4)),
        "dual_clip_share": np.mean((a < 0) & (ratio > 1.6)),
        "ratio_mean": ratio.mean(),
        "mismatch_mean": np.abs(c["logp"] - c["sampler_logp_T"]).mean(),
        "mismatch_max": np.abs(c["logp"] - c["sampler_logp_T"]).max(),
    }
    for name, value in expected.items():
        assert value > 0 or name == "loss"
        assert getattr(metrics, name) == pytest.approx(value, rel=1e-4), name
    assert len(set(expected.values())) == len(expected)


def test_the_entropy_is_that_of_the_allowed_tokens_where_something_was_sampled() -> None:
    groups, _ = given()
    model, r = world.model(torch.float64), world.renderer()
    trainer = world.trainer(model)
    hidden = trainer.forward(groups)[0].detach()
    logits = hidden @ model.get_output_embeddings().weight.detach().T
    logits[:, r.forbidden_ids] = -torch.inf
    p = logits.softmax(-1)
    each = -(p * p.clamp_min(1e-300).log()).sum(-1)
    mask = torch.as_tensor(np.concatenate([s.mask_T for g in groups for s in g.suffixes]))
    metrics = trainer.update(groups)
    assert metrics.entropy == pytest.approx(each[mask].mean().item(), rel=1e-4)
    assert abs(each[mask].mean() - each.mean()) > 1e-5


def test_the_norm_is_told_as_it_was_and_the_gradient_is_scaled_as_a_whole() -> None:
    groups, _ = given()
    free = world.model(torch.float64)
    whole = world.trainer(free).update(groups).grad_norm
    gradient = world.gradient(free)
    assert whole == pytest.approx(float(gradient.norm()), rel=1e-6)
    bound = whole / 3
    model = world.model(torch.float64)
    optimizer = OptimizerConfig(lr=1e-3, weight_decay=0.0, max_grad_norm=bound)
    assert world.trainer(model, optimizer=optimizer).update(groups).grad_norm == pytest.approx(
        whole
    )
    assert world.relative(world.gradient(model), gradient / 3) < 1e-5


def test_each_update_forgets_the_gradients_of_the_one_before() -> None:
    groups, _ = given()
    model = world.model(torch.float64)
    trainer = world.trainer(model, optimizer=replace(world.FREE, lr=1e-12))
    trainer.update(groups[:2])
    first = world.gradient(model)
    trainer.update(groups[2:])
    second = world.gradient(model)
    alone = world.model(torch.float64)
    world.trainer(alone).update(groups[2:])
    assert world.relative(second, world.gradient(alone)) < 1e-6
    assert world.relative(first, second) > 0.1


def test_an_update_is_one_step_of_the_optimizer_however_many_micro_batches() -> None:
    groups, _ = given()
    trainer = world.trainer(world.model(), budget=150)
    for count in (1, 2):
        assert trainer.update(groups).micro_batches > 1
        steps = {int(s["step"]) for s in trainer.optimizer.state.values()}
        assert steps == {count}


def test_the_optimizer_is_adamw_with_the_configurations_numbers() -> None:
    settings = OptimizerConfig(lr=0.03, betas=(0.7, 0.8), eps=0.01, weight_decay=0.5)
    start, pulls = torch.randn(5).double(), torch.randn(3, 5).double()
    weight = start.clone().requires_grad_()
    optimizer = adamw([weight], settings)
    w, m, v = start.clone(), torch.zeros(5).double(), torch.zeros(5).double()
    for t, pull in enumerate(pulls, 1):
        weight.grad = pull.clone()
        optimizer.step()
        w = w * (1 - 0.03 * 0.5)  # decay stands beside the moments, not in them
        m, v = 0.7 * m + 0.3 * pull, 0.8 * v + 0.2 * pull**2
        w = w - 0.03 * (m / (1 - 0.7**t)) / ((v / (1 - 0.8**t)).sqrt() + 0.01)
    assert torch.allclose(weight.detach(), w, rtol=1e-9)


def test_the_trainer_steps_with_the_optimizer_it_was_given() -> None:
    settings = OptimizerConfig(lr=0.03, betas=(0.7, 0.8), eps=0.01, weight_decay=0.5)
    (group,) = world.trainer(world.model(), optimizer=settings).optimizer.param_groups
    assert {k: group[k] for k in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 0.03,
        "betas": (0.7, 0.8),
        "eps": 0.01,
        "weight_decay": 0.5,
    }


@pytest.mark.parametrize("budget", [100_000, 150, 1])
def test_scores_are_in_place_however_groups_are_cut(budget: int) -> None:
    groups, _ = given()
    whole = world.trainer(world.model(torch.float64)).score(groups)
    cut = world.trainer(world.model(torch.float64), budget=budget).score(groups)
    assert [len(row) for row in cut] == MIXED
    for mine, theirs in zip(whole, cut, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_no_groups_make_no_step_and_say_so() -> None:
    trainer = world.trainer(world.model())
    assert trainer.update([], tokens=10) == NO_UPDATE
    assert not trainer.optimizer.state


@pytest.mark.parametrize("cap", [0.0, 1.5])
def test_importance_weights_are_the_trainers_over_the_samplers(cap: float) -> None:
    groups, scores = given()
    trainer = world.trainer(world.model(torch.float64), loss=replace(BOUNDS, importance_cap=cap))
    c = flat(groups, scores)
    a, ratio = c["weights_T"], np.exp(c["logp"] - c["old_logp_T"])
    loss = np.maximum(-a * ratio, -a * np.clip(ratio, 0.9, 1.4))
    loss = np.where(a < 0, np.minimum(loss, -a * 1.6), loss)
    weights = np.minimum(np.exp(c["old_logp_T"] - c["sampler_logp_T"]), cap) if cap else 1.0
    assert trainer.update(groups).loss == pytest.approx((loss * weights).mean(), rel=1e-4)


@pytest.mark.parametrize("budget", [100_000, 150])
def test_distillation_is_the_token_mean_over_what_counts(budget: int) -> None:
    groups, _ = given()
    r = world.renderer()
    student, teacher = world.model(torch.float64), world.model(torch.float64)
    with torch.no_grad():
        teacher.lm_head.weight.mul_(1.5)
        for layer in teacher.model.language_model.layers:
            layer.mlp.down_proj.weight.mul_(1.2)
    trainer = world.trainer(student, budget=budget, teacher=teacher, objective="on_distill")
    hidden, seen = (t.forward(groups)[0].detach() for t in (trainer, world.trainer(teacher)))
    allowed = torch.ones(student.lm_head.weight.shape[0], dtype=torch.bool)
    allowed[r.forbidden_ids] = False
    head = student.lm_head.weight.detach().clone().requires_grad_()
    p = (hidden @ head.T)[:, allowed].softmax(-1)
    q = (seen @ teacher.lm_head.weight.detach().T)[:, allowed].softmax(-1)
    m = (p + q) / 2
    each = 0.5 * (
        F.kl_div(m.log(), p, reduction="none").sum(-1)
        + F.kl_div(m.log(), q, reduction="none").sum(-1)
    )
    entropy = -(p * p.log()).sum(-1)
    mask = torch.as_tensor(np.concatenate([s.mask_T for g in groups for s in g.suffixes]))
    each[mask].mean().backward()
    metrics = trainer.update(groups)
    assert world.relative(student.lm_head.weight.grad, head.grad) < 1e-5
    assert metrics.loss == pytest.approx(each[mask].mean().item(), rel=1e-5)
    assert metrics.entropy == pytest.approx(entropy[mask].mean().item(), rel=1e-5)
    assert metrics.tokens == int(mask.sum()) < len(mask)
    assert metrics.grad_norm == pytest.approx(float(world.gradient(student).norm()), rel=1e-5)


def test_metrics_are_put_together_in_one_place_from_sums_over_passes() -> None:
    groups, _ = given()
    own = sum(g.tokens for g in groups)
    parts = [(0.25, [8.0, 2.0, 4.0, 1.0, 16.0, 3.0, 0.5], 40), (0.5, [1.0] * 6 + [0.75], 24)]
    sums = PassSums()
    for loss, (*statistics, worst), computed in parts:
        sums.add(PartLoss(torch.tensor(loss), (loss, *statistics), worst, computed))
    metrics = sums.metrics(len(groups), sum(g.tokens for g in groups), 999)
    assert (metrics.loss, metrics.entropy, metrics.ratio_mean) == (0.75, 9 / own, 17 / own)
    shares = (metrics.clip_low_share, metrics.clip_high_share, metrics.dual_clip_share)
    assert shares == (3 / own, 5 / own, 2 / own)
    assert (metrics.mismatch_mean, metrics.mismatch_max) == (4 / own, 0.75)
    assert (metrics.tokens, metrics.groups, metrics.micro_batches) == (own, len(groups), 2)
    assert (metrics.computed_tokens, metrics.divisor) == (64, 999)
    assert (metrics.grad_norm, metrics.skipped, metrics.seconds) == (0.0, False, 0.0)
    after = metrics.stepped(float("nan"), 2.0)
    assert after.skipped
    assert after.seconds == 2.0
    assert replace(after, grad_norm=0.0, skipped=False, seconds=0.0) == metrics
    assert not metrics.stepped(1.0, 2.0).skipped


def test_a_distillation_s_metrics_are_means_and_nothing_of_the_surrogate() -> None:
    groups, _ = given()
    trainer = world.trainer(world.model(), teacher=world.model(), objective="on_distill")
    metrics = trainer.update(groups)
    own = sum(g.tokens for g in groups)
    assert (metrics.tokens, metrics.divisor, metrics.groups) == (own, own, len(groups))
    assert metrics.entropy > 0.0
    nothing = replace(
        metrics, clip_low_share=0.0, clip_high_share=0.0, dual_clip_share=0.0, ratio_mean=1.0
    )
    assert metrics == replace(nothing, mismatch_mean=0.0, mismatch_max=0.0)


def test_no_other_place_puts_metrics_together() -> None:
    root = Path(__file__).parents[2] / "zppo_core"
    made = [p.name for p in sorted(root.rglob("*.py")) if "UpdateMetrics(\n" in p.read_text()]
    assert made == ["metrics.py"]
