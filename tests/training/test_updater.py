import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import world

from zppo_core.algorithm.losses import policy_loss
from zppo_core.algorithm.train_groups import TrainGroup, sampler_mismatch, to_train_group
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.errors import UserError
from zppo_core.models.collate import right_pad
from zppo_core.models.qwen3_5.forward import Packed
from zppo_core.models.qwen3_5.hybrid import HybridText
from zppo_core.models.qwen3_5.layers import each_head, whole_heads
from zppo_core.models.qwen3_5.packing import REFERENCE
from zppo_core.training.batching import micro_batches, padded_tokens
from zppo_core.training.updater import Trainer
from zppo_core.types import Completion, Grade, Group

MIXED = [2, 1, 4, 3, 2]  # sizes of the groups on three rows, a text and a video


def gradient_of(groups, dtype=torch.float64, **settings):
    model = world.model(dtype)
    metrics = world.trainer(model, **settings).update(groups)
    return world.gradient(model), metrics


def reference_log_probs(model, groups):
    """By transformers' own forward pass on padded rows."""
    r = world.renderer()
    prompts = [g.prompt for g in groups for _ in g.suffixes]
    batch = right_pad(prompts, [s.token_ids_T for g in groups for s in g.suffixes], r.pad_id)
    logits = model(**batch.model_inputs).logits[batch.response_rows, batch.response_columns - 1]
    logits[:, r.forbidden_ids] = -torch.inf
    targets = batch.input_ids[batch.response_rows, batch.response_columns]
    return logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("mode", ["padded", "shared_prefix"])
def test_log_probabilities_are_those_of_transformers(mode: str) -> None:
    groups = world.groups(world.prompts(), MIXED)
    model = world.model()
    scores = world.trainer(model, mode).score(groups)
    with torch.no_grad():
        expected = reference_log_probs(model, groups).numpy()
    found = np.concatenate([s for group in scores for s in group])
    assert np.abs(found - expected).max() < 2e-5


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        (world.prompts(), MIXED),
        (world.prompts(0, 3, 0), [3, 2, 4]),  # text alone
        (world.prompts(1, 0, 0), [1]),  # G = 1
    ],
)
def test_shared_prefix_and_padded_rows_give_one_gradient(asked, sizes) -> None:
    groups = world.groups(asked, sizes)
    shared, a = gradient_of(groups, mode="shared_prefix")
    padded, b = gradient_of(groups, mode="padded")
    assert world.relative(shared, padded) < 1e-9
    assert a.loss == pytest.approx(b.loss, abs=1e-9)
    assert padded.norm() > 1e-3


def ending_otherwise(group: TrainGroup) -> TrainGroup:
    """The group with another last token of its prompt; templates end in two that are equal."""
    ids_P = group.prompt.input_ids_P.copy()
    ids_P[-1] = group.suffixes[0].token_ids_T[0]
    return replace(group, prompt=replace(group.prompt, input_ids_P=ids_P))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        (world.prompts(), MIXED),
        (world.prompts(0, 3, 0), [3, 2, 4]),  # text alone
        (world.prompts(1, 0, 0), [1]),  # G = 1
    ],
)
def test_packed_prompts_and_responses_give_the_padded_gradient(asked, sizes, checkpointing) -> None:
    """The layout of a GPU, with kernels in plain torch; on CUDA others take their place."""
    groups = [ending_otherwise(g) for g in world.groups(asked, sizes)]
    padded, a = gradient_of(groups, mode="padded")
    model = world.model(torch.float64)
    trainer = world.trainer(model, "padded")
    text = HybridText(model, checkpointing)
    trainer.forward = Packed(text, 0, torch.device("cpu"), REFERENCE)
    b = trainer.update(groups)
    assert world.relative(world.gradient(model), padded) < 1e-9
    assert b.loss == pytest.approx(a.loss, abs=1e-12)
    useful = sum(g.prompt.length - 1 + sum(len(s.token_ids_T) for s in g.suffixes) for g in groups)
    assert b.computed_tokens == useful


def test_nothing_leaks_over_a_bound() -> None:
    groups = world.groups(world.prompts(0, 2, 0), [1, 1])
    model = world.model(torch.float64)
    packed = Packed(HybridText(model), 0, torch.device("cpu"), REFERENCE)
    together, alone = packed(groups)[0], packed(groups[1:])[0]
    assert torch.allclose(together[-len(alone) :], alone, rtol=0, atol=1e-12)


def test_checkpointing_changes_no_gradient() -> None:
    groups = world.groups(world.prompts(), MIXED)
    plain, _ = gradient_of(groups)
    recomputed, _ = gradient_of(groups, checkpointing=True)
    assert world.relative(recomputed, plain) < 1e-12


@pytest.mark.parametrize("budget", [1, 150, 400])
def test_the_gradient_does_not_depend_on_micro_batches(budget: int) -> None:
    groups = world.groups(world.prompts(), MIXED)
    whole, one = gradient_of(groups, torch.float32)
    parts, many = gradient_of(groups, torch.float32, budget=budget)
    assert one.micro_batches == 1
    assert many.micro_batches > 1
    assert world.relative(parts, whole) < 1e-5
    assert many.loss == pytest.approx(one.loss, abs=1e-6)


def test_the_gradient_does_not_depend_on_the_order_of_groups() -> None:
    groups = world.groups(world.prompts(), MIXED)
    forward, _ = gradient_of(groups, torch.float32)
    backward, _ = gradient_of(groups[::-1], torch.float32)
    assert world.relative(backward, forward) < 1e-5


def test_a_sample_does_not_feel_its_neighbours() -> None:
    groups = world.groups(world.prompts(), MIXED)
    trainer = world.trainer(world.model())
    together = trainer.score(groups)
    for group, scores in zip(groups, together, strict=True):
        for suffix, score in zip(group.suffixes, scores, strict=True):
            alone = trainer.score([replace(group, suffixes=(suffix,))])[0][0]
            assert np.abs(alone - score).max() < 1e-5


def test_the_update_is_the_token_mean_of_the_surrogate_and_one_adamw_step() -> None:
    groups = world.groups(world.prompts(), MIXED)
    rng = np.random.default_rng(5)
    trainer = world.trainer(world.model(torch.float64))
    scores = trainer.score(groups)
    old = [[s + rng.normal(0, 0.3, len(s)) for s in row] for row in scores]
    groups = [g.with_old_logp(o) for g, o in zip(groups, old, strict=True)]

    reference = world.model(torch.float64)
    logp = reference_log_probs(reference, groups)
    parts = [s for g in groups for s in g.suffixes]
    flat = {
        name: torch.as_tensor(np.concatenate([getattr(s, name) for s in parts]))
        for name in ("old_logp_T", "weights_T", "mask_T")
    }
    weights = flat["weights_T"].double()
    loss = policy_loss(logp, flat["old_logp_T"], weights, flat["mask_T"])
    loss.backward()
    metrics = trainer.update(groups)
    assert metrics.loss == pytest.approx(loss.item(), abs=1e-6)
    # transformers takes norms and the delta rule in float32 even in a float64 model
    assert world.relative(world.gradient(trainer.model), world.gradient(reference)) < 1e-4
    assert metrics.tokens == int(flat["mask_T"].sum())
    assert 0 < metrics.clip_high_share < 1
    assert 0 < metrics.clip_low_share < 1
    optimizer = torch.optim.AdamW(reference.parameters(), lr=1e-3, weight_decay=0.0)
    for mine, theirs in zip(trainer.model.parameters(), reference.parameters(), strict=True):
        theirs.grad = None if mine.grad is None else mine.grad.clone()
    optimizer.step()
    for mine, theirs in zip(trainer.model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_without_old_log_probabilities_the_ratio_is_one() -> None:
    groups = world.groups(world.prompts(), MIXED)
    scores = world.trainer(world.model()).score(groups)
    given = [g.with_old_logp(s) for g, s in zip(groups, scores, strict=True)]
    free, a = gradient_of(groups, torch.float32)
    fixed, b = gradient_of(given, torch.float32)
    assert a.ratio_mean == 1.0
    assert b.ratio_mean == pytest.approx(1.0, abs=1e-5)
    assert world.relative(free, fixed) < 1e-4


def test_masked_tokens_have_no_gradient_of_their_own() -> None:
    """Forced tokens are context: their weights and old log-probabilities are never read."""
    group = world.groups(world.prompts(1, 0, 0), [2], lengths=(10, 11))[0]
    mask = np.arange(10) >= 4
    clean = replace(group, suffixes=tuple(replace(s, mask_T=mask) for s in group.suffixes))
    spoiled = replace(
        clean,
        suffixes=tuple(
            replace(s, weights_T=np.where(mask, s.weights_T, 1e9).astype(np.float32))
            for s in clean.suffixes
        ),
    )
    a, metrics = gradient_of([clean])
    b, _ = gradient_of([spoiled])
    assert torch.equal(a, b)
    assert metrics.tokens == 12


def test_a_sentinel_in_teacher_text_is_no_target() -> None:
    """Only the states before the student's own tokens meet the head, and only they are targets."""
    r = world.renderer()
    prompt = world.prompts(1, 0, 0)[0]
    sentinel = r.encode_text("Z")[0]
    encoded = r.encode(replace(prompt, text=f"<candidate>Z</candidate> {prompt.text}"))
    assert sentinel in encoded.input_ids_P
    group = replace(world.groups([prompt], [3])[0], prompt=encoded)
    group = replace(
        group,
        suffixes=tuple(replace(s, weights_T=np.ones_like(s.weights_T)) for s in group.suffixes),
    )
    assert all(sentinel not in s.token_ids_T for s in group.suffixes)
    model = world.model(torch.float64)
    trainer = world.trainer(model)
    met: list[torch.Tensor] = []
    forward = trainer.forward

    def watched(groups):
        hidden, n = forward(groups)
        met.append(hidden)
        return hidden, n

    trainer.forward = watched
    trainer.update([group])
    hidden = torch.cat(met).detach()
    targets = np.concatenate([s.token_ids_T for s in group.suffixes])
    assert len(hidden) == len(targets)
    # rebuild the head's gradient from the student's tokens alone: the prompt adds nothing to it
    head = world.model(torch.float64).get_output_embeddings().weight
    logits = hidden @ head.T
    logits[:, r.forbidden_ids] = -torch.inf
    pull = logits.softmax(-1)
    pull[torch.arange(len(targets)), torch.as_tensor(targets, dtype=torch.long)] -= 1.0
    expected = pull.T @ hidden / len(targets)
    found = model.get_output_embeddings().weight.grad
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    # all pull on the sentinel's row is away from it: it was not sampled
    assert (pull[:, sentinel] > 0).all()


def test_groups_become_suffixes_with_the_forced_prefix_masked() -> None:
    ids = np.array([5, 6, 7, 8], np.int32)
    completion = Completion("x", ids, np.zeros(4, np.float32), "stop", 0, forced=2)
    grades = (Grade(1.0, "correct", "1"), Grade(0.0, "wrong", "2"))
    prompt = world.prompts(1, 0, 0)[0]
    group = Group("u", "q", "prefix", prompt, (completion, completion), grades)
    made = to_train_group(group, np.array([0.5, -0.5]), world.renderer().encode(prompt))
    assert made.suffixes[0].mask_T.tolist() == [False, False, True, True]
    assert made.suffixes[1].weights_T.tolist() == [-0.5] * 4
    assert made.tokens == 4


def test_no_groups_no_step() -> None:
    model = world.model()
    before = [p.clone() for p in model.parameters()]
    metrics = world.trainer(model).update([], tokens=100)
    assert metrics.tokens == metrics.computed_tokens == 0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_trivial_groups_still_count_in_the_mean() -> None:
    groups = world.groups(world.prompts(), MIXED)
    own = sum(g.tokens for g in groups)
    alone, _ = gradient_of(groups)
    model = world.model(torch.float64)
    world.trainer(model).update(groups, tokens=2 * own)
    assert world.relative(2 * world.gradient(model), alone) < 1e-12


def test_a_group_of_equal_rewards_alone_moves_weights_by_momentum_and_decay() -> None:
    groups = world.groups(world.prompts(2, 0, 0), [2, 2])
    still = [
        replace(
            g, suffixes=tuple(replace(s, weights_T=np.zeros_like(s.weights_T)) for s in g.suffixes)
        )
        for g in groups[1:]
    ]
    model = world.model(torch.float64)
    trainer = world.trainer(model)
    trainer.update(groups[:1])
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    weights = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    plain = torch.optim.AdamW(weights.values())  # the state brings its settings
    plain.load_state_dict(copy.deepcopy(trainer.optimizer.state_dict()))
    for p in weights.values():
        p.grad = torch.zeros_like(p)
    plain.step()
    metrics = trainer.update(still)
    assert metrics.grad_norm == 0.0
    moved = [not torch.equal(p, before[n]) for n, p in model.named_parameters()]
    assert any(moved)
    for name, p in model.named_parameters():
        assert torch.equal(p, weights[name])


def test_importance_weights_are_truncated() -> None:
    groups = world.groups(world.prompts(), MIXED)
    scores = world.trainer(world.model(torch.float64)).score(groups)
    shifted = [
        replace(
            g.with_old_logp(row),
            suffixes=tuple(
                replace(s, old_logp_T=o, sampler_logp_T=o - np.log(3.0))
                for s, o in zip(g.suffixes, row, strict=True)
            ),
        )
        for g, row in zip(groups, scores, strict=True)
    ]
    plain, _ = gradient_of(shifted)
    capped, _ = gradient_of(shifted, loss=LossConfig(importance_cap=2.0))
    assert world.relative(capped, 2 * plain) < 1e-6


def test_mismatch_is_measured_over_sampled_tokens() -> None:
    groups = world.groups(world.prompts(1, 0, 0), [2], lengths=(3, 4))
    mask = np.array([False, True, True])
    groups = [
        replace(g, suffixes=tuple(replace(s, mask_T=mask) for s in g.suffixes)) for g in groups
    ]
    scores = [tuple(np.array([9.0, 0.1, -0.3]) for _ in range(2))]
    assert sampler_mismatch(groups, scores) == pytest.approx((0.2, 0.3))
    assert sampler_mismatch([], []) == (0.0, 0.0)


def test_micro_batches_hold_the_budget_and_everything_once() -> None:
    groups = world.groups(world.prompts(6, 4, 2), [8] * 12)
    for shared in (True, False):
        batches = micro_batches(groups, 600, shared)
        covered = sorted(p for batch in batches for p, _ in batch)
        seen = [(piece.group, k) for piece in covered for k in piece.members]
        assert seen == [(i, j) for i in range(12) for j in range(8)]
        for batch in batches:
            parts = [g for _, g in batch]
            assert padded_tokens(parts, shared) <= 600 or sum(len(g.suffixes) for g in parts) == 1
        again = [[p for p, _ in batch] for batch in micro_batches(groups, 600, shared)]
        assert again == [[p for p, _ in batch] for batch in batches]


def test_packed_rows_are_refused_on_a_cpu_and_foreign_models_cannot_share() -> None:
    with pytest.raises(UserError, match="needs a GPU"):
        world.trainer(world.model(), "packed")
    assert world.trainer(world.model(), "auto").mode == "shared_prefix"
    assert TrainerConfig().mode == "auto"


def test_a_foreign_model_trains_padded_with_the_same_guarantees() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=640,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    groups = world.groups(world.prompts(0, 3, 0), [3, 2, 4])
    gradients = []
    for budget in (100_000, 200):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).double()
        trainer = world.trainer(model, budget=budget)
        assert trainer.mode == "padded"
        assert "llama" in trainer.mode_reason
        trainer.update(groups)
        gradients.append(world.gradient(model))
    assert world.relative(*gradients) < 1e-6
    with pytest.raises(UserError, match="llama"):
        world.trainer(model, "shared_prefix")


def test_an_update_leaves_the_gpu_to_engines_when_it_publishes(monkeypatch) -> None:
    """What torch keeps for the next pass would not be there for vLLM's weights and cache."""
    given_back: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(True))
    trainer = world.trainer(world.model())
    trainer.publish()
    assert not given_back
    trainer.device = torch.device("cuda")
    trainer.publish()
    assert given_back


def test_masked_attention_on_a_gpu_has_a_head_of_keys_for_each_query() -> None:
    """With a mask and shared heads CUDA has no kernel but the one that forms all scores."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, h, 5, 8, generator=generator) for h in (6, 2, 2))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    assert whole_heads(q, k, v, mask) == (k, v)  # a CPU shares them
    on_gpu = tuple(t.to("meta") for t in (q, k, v))
    assert [t.shape for t in whole_heads(*on_gpu, mask)] == [q.shape, q.shape]
    assert whole_heads(*on_gpu, None) == on_gpu[1:]  # plainly causal: shared there too
    shared = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    whole = F.scaled_dot_product_attention(q, *each_head(k, v, 3), attn_mask=mask, enable_gqa=True)
    assert torch.allclose(shared, whole, atol=1e-6)


@pytest.mark.parametrize("trained", [True, False])
def test_the_vision_tower_learns_or_is_frozen_as_asked(trained: bool) -> None:
    model, r = world.model(), world.renderer()
    settings = TrainerConfig(token_budget=1000, train_vision=trained)
    asked = Trainer(model, r.forbidden_ids, r.pad_id, settings, OptimizerConfig(), LossConfig())
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    asked.update(world.groups(world.prompts(), MIXED))
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert any("visual" in n for n in moved) == trained
    assert any("language_model" in n for n in moved)
    assert any("visual" in n for n in asked.masters.tensors) == trained  # nor has it moments
