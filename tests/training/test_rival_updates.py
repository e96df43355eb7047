"""Losses of rivals through the trainer: micro-batches change nothing, and old ratios are 1."""

from dataclasses import replace

import pytest
import torch
import world

from zppo_core.models.collate import right_pad

MIXED = [2, 1, 4, 3, 2]


def with_old(groups, gap: float):
    """The groups with old log-probabilities that differ from the current ones by about `gap`."""
    scores = world.trainer(world.model(torch.float64)).score(groups)
    return [
        g.with_old_logp([s + gap * (i + 1) for i, s in enumerate(row)])
        for g, row in zip(groups, scores, strict=True)
    ]


@pytest.mark.parametrize("objective", ["gspo", "cispo"])
def test_micro_batches_do_not_change_a_rivals_gradient(objective: str) -> None:
    groups = with_old(world.groups(world.prompts(), MIXED), 0.02)
    gradients, losses = [], []
    for budget in (100_000, 200):
        model = world.model(torch.float64)
        metrics = world.trainer(model, budget=budget, objective=objective).update(groups)
        gradients.append(world.gradient(model))
        losses.append(metrics.loss)
        assert (metrics.micro_batches > 1) is (budget == 200)
    assert world.relative(*gradients) < 1e-9
    assert losses[0] == pytest.approx(losses[1])
    assert gradients[0].norm() > 0


@pytest.mark.parametrize("objective", ["gspo", "cispo"])
def test_at_the_old_weights_a_rivals_gradient_is_the_surrogates(objective: str) -> None:
    groups = world.groups(world.prompts(), MIXED)
    # one weight a response, as advantages are
    groups = [
        replace(g, suffixes=tuple(replace(s, old_logp_T=None) for s in g.suffixes)) for g in groups
    ]
    gradients = []
    for name in (objective, "surrogate"):
        model = world.model(torch.float64)
        world.trainer(model, objective=name).update(groups)
        gradients.append(world.gradient(model))
    assert world.relative(*gradients) < 1e-9


def with_evidence(groups):
    """The groups, each with the next one's kind of prompt for what the self-teacher reads."""
    texts = ["one more", "a solution: 3 and 4", "x"] * 2
    encode = world.renderer().encode
    return [
        replace(g, evidence=encode(replace(p, text=f"{p.text} {text}")))
        for g, p, text in zip(groups, world.prompts(), texts, strict=False)
    ]


def response_logits(model, groups):
    """By transformers' own forward pass: the allowed logits of every response token."""
    r = world.renderer()
    prompts = [g.prompt for g in groups for _ in g.suffixes]
    batch = right_pad(prompts, [s.token_ids_T for g in groups for s in g.suffixes], r.pad_id)
    logits = model(**batch.model_inputs).logits[batch.response_rows, batch.response_columns - 1]
    allowed = torch.ones(logits.shape[1], dtype=torch.bool)
    allowed[torch.as_tensor(r.forbidden_ids)] = False
    return logits[:, allowed]


@pytest.mark.parametrize("budget", [100_000, 200])
def test_opsd_is_the_divergence_to_the_model_itself_after_its_evidence(budget: int) -> None:
    groups = with_evidence(world.groups(world.prompts(), MIXED))
    model, reference = world.model(torch.float64), world.model(torch.float64)
    metrics = world.trainer(model, budget=budget, objective="opsd").update(groups)
    p = response_logits(reference, groups).softmax(-1)
    informed = [replace(g, prompt=g.evidence) for g in groups]
    q = response_logits(reference, informed).softmax(-1).detach()  # no gradient to the teacher
    m = (p + q) / 2
    loss = 0.5 * ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)).mean()
    loss.backward()
    assert metrics.loss == pytest.approx(loss.item(), rel=1e-5)
    assert loss.item() > 1e-4
    assert world.relative(world.gradient(model), world.gradient(reference)) < 1e-4


def test_a_group_without_evidence_cannot_teach_itself() -> None:
    groups = world.groups(world.prompts(), MIXED)
    with pytest.raises(ValueError, match="g0 has no evidence"):
        world.trainer(world.model(), objective="opsd").update(groups[:1])
