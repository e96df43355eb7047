import numpy as np
import pytest
import torch
import world

from zppo_core.algorithm.train_groups import sampler_mismatch, to_train_group
from zppo_core.engines import hf
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.sampling import Penalties, draw, processed
from zppo_core.models.families import ANY
from zppo_core.protocols import Sampling
from zppo_core.types import Grade, Group, Prompt

ROLLOUT = Sampling(16, n=4)


def engine(model=None, **settings) -> HfEngine:
    return HfEngine(model or world.model(), world.renderer(), "test", version=3, **settings)


def same(a, b) -> bool:
    return all(
        np.array_equal(x.token_ids_T, y.token_ids_T)
        for p, q in zip(a, b, strict=True)
        for x, y in zip(p, q, strict=True)
    )


def test_completions_come_in_order_with_version_and_log_probabilities() -> None:
    asked = world.prompts(3, 2, 1)
    progress: list[tuple[int, int]] = []
    made = engine().generate(asked, ROLLOUT, range(6), lambda *p: progress.append(p))
    assert [len(group) for group in made] == [4] * 6
    assert progress[-1] == (6, 6)
    for group in made:
        for c in group:
            assert c.version == 3
            assert len(c.token_ids_T) == len(c.logp_T) <= 16
            assert (c.logp_T < 0).all()
            ended = c.token_ids_T[-1] == world.renderer().end_id
            assert c.finish == ("stop" if ended else "length")
    texts = {c.text for group in made for c in group}
    assert len(texts) > 20  # members and prompts differ


def test_a_prompts_samples_do_not_depend_on_its_neighbours() -> None:
    asked = world.prompts(3, 2, 1)
    together = engine().generate(asked, ROLLOUT, range(6))
    alone = [engine().generate([p], ROLLOUT, [i])[0] for i, p in enumerate(asked)]
    small = engine(max_rows=4).generate(asked, ROLLOUT, range(6))
    assert same(together, alone)
    assert same(together, small)
    other_seed = engine().generate(asked, ROLLOUT, range(6, 12))
    assert not same(together, other_seed)


def test_both_decoders_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = world.prompts(3, 2, 1)
    own = engine().generate(asked, ROLLOUT, range(6))
    monkeypatch.setattr(hf, "family_of", lambda model_type: ANY)
    cached = engine().generate(asked, ROLLOUT, range(6))
    assert same(own, cached)
    for x, y in zip(own, cached, strict=True):
        assert max(np.abs(a.logp_T - b.logp_T).max() for a, b in zip(x, y, strict=True)) < 1e-4


def test_control_tokens_are_never_sampled() -> None:
    model, r = world.model(), world.renderer()
    with torch.no_grad():  # a student that wants nothing else
        model.lm_head.weight[torch.as_tensor(r.forbidden_ids)] *= 50.0
    made = engine(model).generate(world.prompts(), Sampling(16, n=8), range(5))
    said = {int(t) for group in made for c in group for t in c.token_ids_T}
    vision = r.tokenizer.convert_tokens_to_ids(
        ["<|image_pad|>", "<|vision_start|>", "<|im_start|>"]
    )
    assert set(vision) <= set(r.forbidden_ids.tolist())
    assert not said & set(r.forbidden_ids.tolist())


def test_the_trainer_sees_the_distribution_that_was_sampled() -> None:
    """Ratio 1 before the first update, to 1e-5, for both modes."""
    model = world.model()
    asked = world.prompts()
    made = engine(model).generate(asked, ROLLOUT, range(5))
    grades = tuple(Grade(float(i % 2), "correct" if i % 2 else "wrong", "1") for i in range(4))
    groups = [
        to_train_group(
            Group(f"u{i}", f"q{i}", "plain", p, c, grades),
            np.array([1.0, -1.0, 1.0, -1.0]),
            world.renderer().encode(p),
        )
        for i, (p, c) in enumerate(zip(asked, made, strict=True))
    ]
    for mode in ("padded", "shared_prefix"):
        scores = world.trainer(model, mode).score(groups)
        assert sampler_mismatch(groups, scores)[1] < 1e-5


def test_generation_goes_on_after_forced_tokens() -> None:
    from dataclasses import replace

    prompt = world.prompts(1, 0, 0)[0]
    free = engine().generate([prompt], Sampling(12, temperature=0.0), [0])[0][0]
    head = tuple(int(t) for t in free.token_ids_T[:5])
    forced = engine().generate([replace(prompt, forced=head)], Sampling(12, temperature=0.0), [0])
    assert np.array_equal(forced[0][0].token_ids_T, free.token_ids_T)
    assert forced[0][0].forced == 5
    assert (forced[0][0].logp_T[:5] == 0).all()
    assert np.allclose(forced[0][0].logp_T[5:], free.logp_T[5:], atol=1e-4)
    full = replace(prompt, forced=tuple([head[0]] * 12))
    assert len(engine().generate([full], Sampling(12), [0])[0][0].token_ids_T) == 12


def test_new_weights_must_be_complete_and_are_taken() -> None:
    model = world.model()
    served = engine(world.model())
    with torch.no_grad():
        model.lm_head.weight.mul_(-1.0)
    before = served.generate(world.prompts(1, 0, 0), ROLLOUT, [0])
    weights = dict(model.named_parameters())
    served.load_weights(weights, 7)
    after = served.generate(world.prompts(1, 0, 0), ROLLOUT, [0])
    assert after[0][0].version == 7
    assert not same(before, after)
    assert same(after, engine(model).generate(world.prompts(1, 0, 0), ROLLOUT, [0]))
    with pytest.raises(KeyError, match=r"lm_head\.weight"):
        served.load_weights({k: v for k, v in weights.items() if k != "lm_head.weight"}, 8)
    with pytest.raises(KeyError, match="more"):
        served.load_weights({**weights, "more": torch.zeros(1)}, 8)
    assert served.version == 7


def test_a_prompt_cannot_smuggle_in_an_image() -> None:
    from zppo_core.errors import UserError

    for images in ((), world.prompts(1, 0, 0)[0].images):
        with pytest.raises(UserError, match="placeholder"):
            world.renderer().encode(Prompt("look: <|image_pad|>", images))


def test_other_models_generate_through_their_own_cache() -> None:
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
    llama = engine(LlamaForCausalLM(config).eval())
    asked = world.prompts(0, 4, 0)
    together = llama.generate(asked, ROLLOUT, range(4))
    assert same(together, [llama.generate([p], ROLLOUT, [i])[0] for i, p in enumerate(asked)])


def logits(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_sampling_follows_the_distribution() -> None:
    p = torch.tensor([[0.1, 0.0, 0.6, 0.3]], dtype=torch.float64).log()
    rng = np.random.default_rng(0)
    n = 20_000
    tokens = draw(p.expand(n, -1), rng.random(n), greedy=False)
    shares = torch.bincount(tokens, minlength=4) / n
    assert torch.allclose(shares.double(), p.exp()[0], atol=0.01)
    assert shares[1] == 0
    assert draw(p, np.array([np.nextafter(1.0, 0.0)]), greedy=False).item() == 3
    assert draw(p, np.array([0.0]), greedy=False).item() == 0
    assert draw(p, np.array([0.99]), greedy=True).item() == 2


def test_cuts_of_the_distribution() -> None:
    x = logits([0.5, 0.3, 0.15, 0.05]).log()
    top_k = processed(x, Sampling(1, top_k=2)).exp()
    assert torch.allclose(top_k, logits([0.625, 0.375, 0.0, 0.0]))
    top_p = processed(x, Sampling(1, top_p=0.75)).exp()
    assert torch.allclose(top_p, logits([0.625, 0.375, 0.0, 0.0]))
    min_p = processed(x, Sampling(1, min_p=0.2)).exp()
    assert torch.allclose(min_p, logits([0.5, 0.3, 0.15, 0.0]) / 0.95)
    cold = processed(x, Sampling(1, temperature=0.5)).exp()
    assert torch.allclose(cold, x.exp() ** 2 / (x.exp() ** 2).sum())
    plain = processed(x, Sampling(1)).exp()
    assert torch.allclose(plain, x.exp())


def test_penalties_are_vllms() -> None:
    sampling = Sampling(1, presence_penalty=1.5, repetition_penalty=2.0)
    penalties = Penalties(sampling, [np.array([0]), np.array([3])], 4, torch.device("cpu"))
    rows = torch.tensor([0, 1])
    penalties.add(rows, torch.tensor([1, 1]))
    x = logits([2.0, 2.0, 2.0, -2.0], [2.0, -2.0, 2.0, -2.0])
    # repetition divides what is positive and multiplies what is negative, prompt included;
    # presence is taken off what was said, prompt excluded
    expected = logits([1.0, -0.5, 2.0, -2.0], [2.0, -5.5, 2.0, -4.0])
    assert torch.allclose(penalties.apply(x, rows), expected)
