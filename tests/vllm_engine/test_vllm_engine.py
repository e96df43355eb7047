"""The adapter against vLLM's CPU build and the transformers engine; `make test-vllm` runs them."""

import copy
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

if os.environ.get("ZPPO_TEST_VLLM") != "1":
    pytest.skip("needs the environment of `make test-vllm`", allow_module_level=True)

from transformers import Qwen3_5ForConditionalGeneration

from zppo_core import models
from zppo_core.algorithm.train_groups import sampler_mismatch, to_train_group
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.data.digits import benchmark_questions, train_questions
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.pool import EnginePool
from zppo_core.engines.vllm import VllmEngine, control_settings
from zppo_core.errors import UserError
from zppo_core.models.nano import build as nano
from zppo_core.models.nano import resolve
from zppo_core.models.renderer import Renderer
from zppo_core.prompts import OURS
from zppo_core.protocols import Sampling
from zppo_core.training.updater import Trainer
from zppo_core.types import Completion, Grade, Group, Prompt

GREEDY = Sampling(48, temperature=0.0)
SETTINGS = {"max_model_len": 1024}
# vLLM computes in bf16, the other side in fp32; nats
MEAN, MOST, WORST = 0.02, 0.05, 0.35  # mean, 95th percentile and maximum of |difference|
TIE = 0.1  # two tokens whose log-probabilities in fp32 are nearer than this may change places


@pytest.fixture(scope="module")
def student() -> tuple[Any, Any]:
    return models.load("nano:student", torch.float32)


@pytest.fixture(scope="module")
def engine(student: tuple[Any, Any]) -> Iterator[VllmEngine]:
    made = VllmEngine("nano:student", student[1], "student", 1, **SETTINGS)
    yield made
    made.close()


@pytest.fixture
def original(engine: VllmEngine, student: tuple[Any, Any]) -> VllmEngine:
    """The engine with the shipped weights, whatever the test before it did."""
    engine.load_weights(dict(student[0].named_parameters()), 1)
    return engine


def prompts(rows: int = 12, texts: int = 6, frames: int = 6) -> list[Prompt]:
    asked = train_questions(rows, 0) + benchmark_questions("nano_text", texts)
    asked += benchmark_questions("nano_frames", frames)
    return [Prompt(OURS.with_closer(q.text), q.images) for q in asked]


def perturbed(model: Any, size: float = 0.02) -> Any:
    """Another student: noise on every parameter, enough to change what it says."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return other


def weights(model: Any) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


def flat(groups: Sequence[tuple[Completion, ...]]) -> list[Completion]:
    return [c for group in groups for c in group]


def say(title: str, text: str) -> None:
    """A measured figure, for docs/engines.md."""
    with open(os.environ.get("ZPPO_FIGURES", "/dev/null"), "a", encoding="utf-8") as file:
        file.write(f"{title}: {text}\n")


def lead(model: Any, renderer: Any, prompt: Prompt, ours: Completion, theirs: Completion) -> float:
    """Nats by which `model` in fp32 prefers our token to theirs where they part; 0 if never."""
    n = min(len(ours.token_ids_T), len(theirs.token_ids_T))
    differ = np.flatnonzero(ours.token_ids_T[:n] != theirs.token_ids_T[:n])
    if not len(differ):
        return 0.0
    upto = int(differ[0]) + 1
    said = tuple(
        replace(c, token_ids_T=c.token_ids_T[:upto], logp_T=c.logp_T[:upto]) for c in (ours, theirs)
    )
    group = Group("u", "q", "plain", prompt, said, (Grade(1.0, "correct"),) * 2)
    scored = trainer_of(model, renderer).score(
        [to_train_group(group, np.ones(2), renderer.encode(prompt))]
    )
    return float(scored[0][0][-1] - scored[0][1][-1])


def trainer_of(model: Any, renderer: Any) -> Trainer:
    return Trainer(
        copy.deepcopy(model),
        renderer.forbidden_ids,
        renderer.pad_id,
        TrainerConfig(checkpointing=False),
        OptimizerConfig(),
        LossConfig(),
        "cpu",
    )


def agree(name: str, theirs: VllmEngine, ours: HfEngine, sampling: Sampling = GREEDY) -> None:
    """Same greedy tokens, and log-probabilities within the tolerance up to where they part."""
    asked = prompts()
    want = flat(ours.generate(asked, sampling, range(len(asked))))
    got = flat(theirs.generate(asked, sampling, range(len(asked))))
    same, apart = 0, []
    for a, b in zip(want, got, strict=True):
        n = min(len(a.token_ids_T), len(b.token_ids_T))
        differ = np.flatnonzero(a.token_ids_T[:n] != b.token_ids_T[:n])
        first = int(differ[0]) if len(differ) else n
        same += np.array_equal(a.token_ids_T, b.token_ids_T)
        apart.append(np.abs(a.logp_T[:first] - b.logp_T[:first]))
    d = np.concatenate(apart)
    p95 = float(np.quantile(d, 0.95))
    say(
        name,
        f"{same} of {len(asked)} greedy responses equal; |log-prob difference| over {len(d)} "
        f"tokens: mean {d.mean():.4f}, 95 % {p95:.4f}, most {d.max():.3f}",
    )
    # a near tie may turn in bf16, rarely
    assert same >= len(asked) - 1
    for prompt, a, b in zip(asked, want, got, strict=True):
        assert lead(ours.model, ours.renderer, prompt, a, b) < TIE
    assert d.mean() < MEAN
    assert p95 < MOST
    assert d.max() < WORST


def test_it_agrees_with_transformers_before_and_after_a_sync(original, student) -> None:
    model, renderer = student
    agree("before the sync", original, HfEngine(model, renderer, "s"))
    other = perturbed(model)
    said = flat(original.generate(prompts(), GREEDY, range(24)))
    start = time.perf_counter()
    original.load_weights(weights(other), 7)
    say("sync", f"{1000 * (time.perf_counter() - start):.0f} ms")
    now = flat(original.generate(prompts(), GREEDY, range(24)))
    assert {c.version for c in now} == {7}
    changed = sum(a.text != b.text for a, b in zip(said, now, strict=True))
    say("changed by the sync", f"{changed} of 24 responses")
    assert changed >= 6  # or the comparison below would prove nothing
    agree("after the sync", original, HfEngine(other, renderer, "s"))


def said_by(folder: str) -> list[Completion]:
    """What a new engine in a process of its own says."""
    renderer = models.load("nano:student", torch.float32)[1]
    return everything(VllmEngine(folder, renderer, **SETTINGS))


def everything(engine: VllmEngine) -> list[Completion]:
    greedy = flat(engine.generate(prompts(), GREEDY, range(24)))
    return greedy + flat(engine.generate(prompts(), Sampling(32, n=4), range(24)))


def test_a_reload_equals_a_fresh_load(original, student, tmp_path) -> None:
    other = perturbed(student[0])
    other.save_pretrained(tmp_path)
    for path in resolve("nano:student").iterdir():
        if not (tmp_path / path.name).exists():
            shutil.copy(path, tmp_path)
    original.load_weights(weights(other), 2)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        fresh = pool.submit(said_by, str(tmp_path)).result()
    tokens = 0
    for x, y in zip(everything(original), fresh, strict=True):
        assert x.token_ids_T.tolist() == y.token_ids_T.tolist()
        assert x.logp_T.tolist() == y.logp_T.tolist()
        tokens += len(x.token_ids_T)
    say("a reload and a fresh load", f"{tokens} tokens and log-probabilities equal bit by bit")


def test_forbidden_tokens_are_never_sampled_and_leave_the_distribution(original, student) -> None:
    model, renderer = student
    eager = copy.deepcopy(model)
    with torch.no_grad():  # every forbidden token becomes likelier than what the student wants
        head = eager.get_output_embeddings().weight
        head[torch.as_tensor(renderer.forbidden_ids)] = 2 * head[renderer.end_id]
    free = HfEngine(eager, renderer, "s")
    free.forbidden = free.forbidden[:0]
    taken = [t for c in flat(free.generate(prompts(), GREEDY, range(24))) for t in c.token_ids_T]
    assert np.isin(taken, renderer.forbidden_ids).any()  # without the mask they would be
    original.load_weights(weights(eager), 3)
    made = flat(original.generate(prompts(), Sampling(64, n=8), range(24)))
    ids = np.concatenate([c.token_ids_T for c in made])
    assert len(ids) >= 2000
    assert not np.isin(ids, renderer.forbidden_ids).any()
    say("forbidden tokens", f"0 among {len(ids)} tokens at temperature 1")
    agree("restricted distribution", original, HfEngine(eager, renderer, "s"))


def test_completions_differ_by_seed_and_repeat(original) -> None:
    asked, sampling = prompts(), Sampling(32, n=4)
    steps: list[tuple[int, int]] = []
    first = original.generate(asked, sampling, range(24), lambda *p: steps.append(p))
    again = original.generate(asked, sampling, range(24))
    other = original.generate(asked, sampling, range(100, 124))
    assert steps == [(i + 1, 24) for i in range(24)]
    for a, b in zip(flat(first), flat(again), strict=True):
        assert a.token_ids_T.tolist() == b.token_ids_T.tolist()
        assert a.logp_T.tolist() == b.logp_T.tolist()
        assert len(a.token_ids_T) == len(a.logp_T) <= 32
        assert a.finish == ("stop" if a.token_ids_T[-1] == original.renderer.end_id else "length")
    assert len({c.text for c in first[0]} | {c.text for c in other[0]}) > 1
    differ = sum(a.text != b.text for a, b in zip(flat(first), flat(other), strict=True))
    inside = sum(len({c.text for c in group}) > 1 for group in first)
    say(
        "seeds",
        f"{differ} of 96 completions change with the seed; {inside} of 24 groups differ inside",
    )
    assert differ >= 24
    assert inside >= 12
    # alone a prompt says the same as among others, but for what bf16 rounds by batch
    alone = [original.generate([p], sampling, [i])[0] for i, p in enumerate(asked[:6])]
    equal = sum(a.text == b.text for a, b in zip(flat(alone), flat(first[:6]), strict=True))
    say("alone or among others", f"{equal} of 24 completions equal")
    assert equal >= 20


def test_the_trainer_finds_the_samplers_log_probabilities(original, student) -> None:
    model, renderer = student
    asked = prompts()
    made = original.generate(asked, Sampling(48, n=4), range(24))
    grades = tuple(Grade(r, "correct" if r else "wrong") for r in (1.0, 0.0, 0.0, 0.0))
    groups = []
    for i, (p, g) in enumerate(zip(asked, made, strict=True)):
        group = Group(f"u{i}", f"q{i}", "plain", p, g, grades)
        groups.append(to_train_group(group, np.ones(4), renderer.encode(p)))
    mismatch, _ = sampler_mismatch(groups, trainer_of(model, renderer).score(groups))
    say("mean mismatch of sampler and trainer", f"{mismatch:.4f} nats")
    assert mismatch < TrainerConfig().max_mismatch


def test_forced_tokens_are_given_and_gone_on_after(original) -> None:
    asked, free = prompts(), flat(original.generate(prompts(), GREEDY, range(24)))
    starts = [tuple(c.token_ids_T[:5].tolist()) for c in free]
    given = [Prompt(p.text, p.images, forced=f) for p, f in zip(asked, starts, strict=True)]
    made = flat(original.generate(given, GREEDY, range(24)))
    for c, f in zip(made, starts, strict=True):
        assert tuple(c.token_ids_T[:5].tolist()) == f
        assert (c.forced, c.logp_T[:5].tolist()) == (5, [0.0] * 5)
    same = sum(
        np.array_equal(a.token_ids_T, b.token_ids_T) for a, b in zip(free, made, strict=True)
    )
    say("forced tokens", f"{same} of 24 responses go on as the free ones did")
    assert same >= 23
    for c in flat(original.generate(given, Sampling(5, n=2), range(24))):
        assert (len(c.token_ids_T), c.finish, c.forced) == (5, "length", 5)


def test_penalties_and_cuts_are_those_of_the_transformers_engine(original, student) -> None:
    penalties = Sampling(32, temperature=0.0, presence_penalty=1.5, repetition_penalty=1.1)
    agree("penalties", original, HfEngine(*student, "s"), penalties)
    first, second = original.generate(prompts(1, 0, 0), Sampling(16, 2, 0.0), [0])[0]
    assert first.token_ids_T.tolist() == second.token_ids_T.tolist()
    (c,) = original.generate(prompts(1, 0, 0), Sampling(16, top_k=1), [0])[0]
    assert c.logp_T.tolist() == [0.0] * len(c.logp_T)  # of the distribution after the cut


def test_names_must_be_complete_both_ways(original, student) -> None:
    given = weights(student[0])
    name = "model.language_model.layers.1.self_attn.k_proj.weight"
    with pytest.raises(KeyError, match="k_proj"):
        original.load_weights({n: t for n, t in given.items() if n != name}, 4)
    with pytest.raises(KeyError, match=r"layers\.9"):
        original.load_weights(given | {name.replace("layers.1", "layers.9"): given[name]}, 4)
    assert original.version == 1
    agree("after refused syncs", original, HfEngine(*student, "s"))


def test_a_sync_that_went_wrong_is_noticed_and_stops_the_engine(
    original, student, monkeypatch
) -> None:
    given = weights(student[0])
    rpc = original.llm.collective_rpc

    def lazy(method: str, **arguments: Any) -> Any:
        return None if method == "reload_weights" else rpc(method, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(original.llm, "collective_rpc", lazy)
        original.load_weights(given, 5)  # they are there already
        with pytest.raises(RuntimeError, match="other values"):
            original.load_weights(weights(perturbed(student[0])), 6)
    with pytest.raises(RuntimeError, match="load_weights comes first"):
        original.generate(prompts(1, 0, 0), GREEDY, [0])
    original.load_weights(given, 6)
    assert original.generate(prompts(1, 0, 0), GREEDY, [0])[0][0].version == 6


def test_what_cannot_be_is_said(original, student) -> None:
    with pytest.raises(UserError, match="max_model_len"):
        original.generate([Prompt("1 " * 1200)], GREEDY, [0])
    with pytest.raises(UserError, match="transport=file"):
        VllmEngine("nano:student", student[1], **SETTINGS)
    original.sleep()
    original.wake()  # nothing on a CPU


def tied_students(folder: Path) -> tuple[Any, Any]:
    """Nano with a head that is its embedding, as in Qwen3.5's sizes up to 4B; and another one.

    Saved in `folder`/1 and /2. The embedding is drawn wide, and the rest moved: what an untrained
    student says next is no near tie, and not what it just said.
    """
    config = nano.build_config(nano.build_tokenizer())
    config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = True
    torch.manual_seed(3)
    first = Qwen3_5ForConditionalGeneration(config)
    with torch.no_grad():
        first.get_input_embeddings().weight.normal_(0.0, 0.3)
    first, second = perturbed(first, 0.1), perturbed(first, 0.2)
    for name, model in (("1", first), ("2", second)):
        model.save_pretrained(folder / name)
        for path in resolve("nano:student").iterdir():
            if not (folder / name / path.name).exists():
                shutil.copy(path, folder / name)
    return first.eval(), second.eval()


@pytest.mark.parametrize("transport", ["memory", "file"])
def test_a_tied_students_head_follows_a_sync(transport, tmp_path) -> None:
    """Bit by bit as a fresh load, whose head vLLM's CPU build packs from the embedding."""
    _, second = tied_students(tmp_path)
    assert "lm_head.weight" not in weights(second)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        before, synced = pool.submit(sync_tied, str(tmp_path), transport).result()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        fresh = pool.submit(said_by, str(tmp_path / "2")).result()
    changed = sum(x.text != y.text for x, y in zip(before, synced, strict=True))
    assert changed >= 60  # or the comparison below would prove nothing
    tokens = 0
    for x, y in zip(synced, fresh, strict=True):
        assert x.token_ids_T.tolist() == y.token_ids_T.tolist()
        assert x.logp_T.tolist() == y.logp_T.tolist()
        tokens += len(x.token_ids_T)
    say(
        f"a tied student, synchronised by {transport}, and a fresh load",
        f"{tokens} tokens and log-probabilities equal bit by bit; {changed} of {len(before)} "
        "responses changed by the sync",
    )


def sync_tied(folder: str, transport: str) -> tuple[list[Completion], list[Completion]]:
    """What an engine in a process of its own says before and after a sync."""
    second = models.load(f"{folder}/2", torch.float32)[0]
    renderer = models.load_renderer("nano:student", nano.VOCAB, images=True)
    engine = VllmEngine(f"{folder}/1", renderer, transport=transport, **SETTINGS)  # type: ignore[arg-type]
    before = everything(engine)
    engine.load_weights(weights(second), 7)
    after = everything(engine)
    engine.close()
    return before, after


def test_every_end_token_ends_a_response(original, student, monkeypatch) -> None:
    """Both of Qwen3.5's generation_config: the one that closes a turn, and the one of a text."""
    model, before = student
    second = before.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    both = {"eos_token_id": [before.end_id, second]}
    after = Renderer(before.tokenizer, before.processor.image_processor, nano.VOCAB, both)
    assert after.end_ids == tuple(sorted((before.end_id, second)))
    monkeypatch.setattr(original, "renderer", after)
    monkeypatch.setattr(original, "_control", control_settings(after))
    for end in after.end_ids:
        ready = copy.deepcopy(model)
        with torch.no_grad():  # what would have been the other end is this one, and likelier
            head = ready.get_output_embeddings().weight
            head[end] = 4 * head[before.end_id]
        original.load_weights(weights(ready), 8)
        made = flat(original.generate(prompts(), Sampling(64, n=2), range(24)))
        ended = [c for c in made if c.finish == "stop"]
        assert len(ended) >= 40
        assert sum(c.token_ids_T[-1] == end for c in ended) >= 36
        assert not any(set(c.token_ids_T[:-1].tolist()) & set(after.end_ids) for c in made)
        assert not any("<|" in c.text for c in made)
        say(f"end token {end}", f"{len(ended)} of {len(made)} responses end by themselves")


def test_a_group_is_prefilled_once_and_no_state_outlives_a_sync() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        first, second, after, same, ties = pool.submit(cached_groups).result()
    # 1516 tokens: five blocks of 256 are taken over by seven of eight members
    say("prefix cache", f"{first} of {4 * 8 * 1516} prompt tokens taken over within the groups")
    assert first == 4 * 7 * 1280
    assert second == 4 * 8 * 1280
    assert after == first
    say(
        "cached groups after a sync",
        f"{same} of 32 responses equal bit by bit to an engine's "
        f"without the cache; near ties that transformers decides otherwise: {ties}",
    )
    assert same == 32


def cached_groups() -> tuple[int, int, int, int, list[str]]:
    """Cache hits of three calls, the last one after a sync; responses then equal to those without.

    And how far transformers prefers its own token in each prompt that it answers otherwise.
    """
    model, renderer = models.load("nano:student", torch.float32)
    engine = VllmEngine(
        "nano:student",
        renderer,
        max_model_len=4096,
        enable_chunked_prefill=True,
        enable_prefix_caching=True,
        disable_log_stats=False,
    )
    # greedy, as a CPU cannot chunk a prompt that has a seed: so members are prompts here
    groups = [Prompt(f"{i} " + "one two three four " * 150) for i in range(4) for _ in range(8)]
    sampling, hits = Sampling(8, temperature=0.0), [0]
    for call in range(3):
        if call == 2:
            model = perturbed(model)
            engine.load_weights(weights(model), 1)
        got = flat(engine.generate(groups, sampling, range(32)))
        counted = {m.name: m.value for m in engine.llm.get_metrics() if hasattr(m, "value")}
        hits.append(counted["vllm:prefix_cache_hits"])
    plain = VllmEngine("nano:student", renderer, transport="file", max_model_len=4096)
    plain.load_weights(weights(model), 1)
    want = flat(plain.generate(groups, sampling, range(32)))
    plain.close()
    same = sum(
        a.token_ids_T.tolist() == b.token_ids_T.tolist() and a.logp_T.tolist() == b.logp_T.tolist()
        for a, b in zip(want, got, strict=True)
    )
    ours = flat(HfEngine(model, renderer, "s").generate(groups[::8], sampling, range(4)))
    leads = [
        lead(model, renderer, p, a, b) for p, a, b in zip(groups[::8], ours, got[::8], strict=True)
    ]
    assert max(leads) < TIE
    first, second, after = np.diff(hits).tolist()
    return first, second, after, same, [f"{x:.3f} nats" for x in leads if x]


def test_processes_of_their_own_take_weights_by_file(original, student) -> None:
    model, renderer = student
    other = perturbed(model)
    pool = EnginePool(
        [
            VllmEngine("nano:student", renderer, "s", transport="file", devices=gpu, **SETTINGS)
            for gpu in "34"
        ]
    )
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert {b"CUDA_VISIBLE_DEVICES=3", b"CUDA_VISIBLE_DEVICES=4"} <= set(environments())
    start = time.perf_counter()
    pool.load_weights(weights(other), 9)
    say("sync of two processes by file", f"{1000 * (time.perf_counter() - start):.0f} ms")
    original.load_weights(weights(other), 9)
    steps: list[tuple[int, int]] = []
    a = flat(original.generate(prompts(), GREEDY, range(24)))
    b = flat(pool.generate(prompts(), GREEDY, range(24), lambda *p: steps.append(p)))
    same = sum(x.text == y.text for x, y in zip(a, b, strict=True))
    say("two processes and one", f"{same} of 24 greedy responses equal")
    assert same >= 23
    assert steps == [(i + 1, 24) for i in range(24)]
    assert {c.version for c in b} == {9}
    for engine in pool.engines:
        engine.close()


def environments() -> list[bytes]:
    """What our descendants' environments hold."""
    found: list[bytes] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.joinpath("stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found += path.joinpath("environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
    return found


def test_a_stream_gives_groups_as_they_finish_and_those_of_generate(original) -> None:
    asked, sampling = prompts(), Sampling(48, n=2)
    whole = original.generate(asked, sampling, range(24))
    steps: list[tuple[int, int]] = []
    parts = list(original.stream(asked, sampling, range(24), lambda *p: steps.append(p)))
    assert len(parts) > 3
    say("stream", f"24 groups of 2 came in {len(parts)} parts")
    groups = dict(pair for together in parts for pair in together)
    assert len(groups) == sum(map(len, parts)) == 24
    assert steps == [(i + 1, 24) for i in range(24)]
    for i, group in enumerate(whole):
        for a, b in zip(group, groups[i], strict=True):
            assert a.token_ids_T.tolist() == b.token_ids_T.tolist()
            assert a.logp_T.tolist() == b.logp_T.tolist()


def test_a_request_joins_those_at_work_and_a_dropped_call_leaves_nothing(original) -> None:
    ended: list[str] = []
    stream = original.stream(prompts(), Sampling(64, n=8), range(24))
    first = next(stream)

    def ask(name: str) -> None:
        original.generate(prompts(1, 0, 0), Sampling(4), [0])
        ended.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["a", "b"]
    assert original.llm.llm_engine.has_unfinished_requests()  # the first call goes on
    assert 0 < len(first) < 24
    stream.close()
    original.generate(prompts(1, 0, 0), Sampling(4), [0])
    assert not original.llm.llm_engine.has_unfinished_requests()


def test_a_request_that_vllm_refuses_is_its_own_call_s_fault(original, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(original._control, "logit_bias", {10**7: 1.0})  # no such token
        with pytest.raises(Exception, match="vocab"):  # vLLM's own kind
            original.generate([Prompt("1 + 1 = ?")] * 2, Sampling(4), [0, 1])
    assert original.generate([Prompt("1 + 1 = ?")], Sampling(4), [0])[0][0].text


def test_speed(original, student) -> None:
    asked = prompts(32, 16, 16)
    for name, engine in (("vllm", original), ("hf", HfEngine(*student, "s"))):
        engine.generate(asked[:8], Sampling(8), range(8))
        start = time.perf_counter()
        made = flat(engine.generate(asked, Sampling(64, n=8), range(64)))
        seconds = time.perf_counter() - start
        tokens = sum(len(c.token_ids_T) for c in made)
        say(
            f"speed of {name}",
            f"{tokens} tokens in {seconds:.1f} s, {tokens / seconds:.0f} tokens/s",
        )
        assert tokens > 1000


def test_the_mask_of_forbidden_tokens_costs_little(original, monkeypatch) -> None:
    """In turns with and without it, each token sampled alike in number: 64 to a response."""
    asked, seconds = prompts(32, 16, 16), {"with": 0.0, "without": 0.0}
    mask, long = original._control["logit_bias"], Sampling(64, n=8)
    monkeypatch.setitem(original._control, "stop_token_ids", [])  # the same lengths
    made: dict[str, int] = {}
    for turn in range(4):
        for name, bias in (("with", mask), ("without", None)):
            monkeypatch.setitem(original._control, "logit_bias", bias)
            start = time.perf_counter()
            made[name] = sum(
                len(c.token_ids_T) for c in flat(original.generate(asked, long, range(64)))
            )
            seconds[name] += (time.perf_counter() - start) if turn else 0.0  # the first one warms
    assert made["with"] == made["without"] == 64 * 8 * 64
    ratio = seconds["with"] / seconds["without"]
    say("mask", f"{len(mask)} forbidden tokens, {ratio:.3f} times the seconds without them")
    assert ratio < 1.25
