"""What the adapter asks of vLLM for a prompt and for new weights, seen by a stand-in for it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import world

from zppo_core.engines.vllm import MAX_FORBIDDEN, VllmEngine, _visible, control_settings, defaults
from zppo_core.engines.vllm_sleep import Sleep
from zppo_core.engines.vllm_weights import sums
from zppo_core.errors import UserError
from zppo_core.protocols import Sampling
from zppo_core.types import Prompt

WEIGHTS = {"w": torch.arange(6.0)}


class StandIn:
    """Stands for `vllm.LLM`: takes down what it is asked, and holds the weights it was given."""

    def __init__(self, forgets: str = "") -> None:
        self.calls: list[str] = []
        self.held: dict[str, torch.Tensor] = {}
        self.forgets, self.running = forgets, False
        self.llm_engine = self
        self.model_config = SimpleNamespace(hf_config=SimpleNamespace(tie_word_embeddings=False))

    def collective_rpc(self, name: str, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.calls.append(name)
        if name == "zppo_names":
            return [(list(args[0]), dict.fromkeys(args[0], "float32"), {})]
        if name == "reload_weights":
            given = dict((kwargs or {})["weights_iterator"])
            self.held = {n: t for n, t in given.items() if n != self.forgets}
        if name == "zppo_sums":
            return [{n: sums(self.held.get(n, torch.zeros(6))) for n in WEIGHTS}]
        return None

    def reset_prefix_cache(self) -> bool:
        self.calls.append("prefix cache")
        return not self.running

    def reset_encoder_cache(self) -> None:
        self.calls.append("encoder cache")

    def reset_mm_cache(self) -> None:
        self.calls.append("picture cache")


class Params(SimpleNamespace):
    """Stands for `vllm.SamplingParams`."""


@pytest.fixture
def engine(monkeypatch) -> VllmEngine:
    fake = ModuleType("vllm")
    fake.SamplingParams = Params  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", fake)
    made = object.__new__(VllmEngine)
    made.renderer, made.version, made.transport = world.renderer(), 0, "memory"
    made.llm = StandIn()
    made._unfit, made._on_cpu, made._dtype = False, False, torch.float32
    made._sleep, made.max_length = Sleep(made.llm), 4096
    made._control = control_settings(made.renderer)
    return made


def asked(engine: VllmEngine, prompt: Prompt, sampling: Sampling, seed: int = 1) -> Any:
    """The settings of the one request for `prompt`."""
    requests: list[Any] = []
    engine._loop = SimpleNamespace(run=lambda given: requests.extend(given) or iter(()))  # type: ignore[assignment]
    list(engine.stream([prompt], sampling, [seed]))
    ((place, _, settings),) = requests
    assert place == 0
    return settings


def test_a_response_has_what_forced_tokens_leave_of_the_cap(engine) -> None:
    assert asked(engine, Prompt("q"), Sampling(50)).max_tokens == 50
    assert asked(engine, Prompt("q", forced=(7, 8, 9)), Sampling(50)).max_tokens == 47


def test_each_setting_of_sampling_reaches_vllm(engine) -> None:
    sampling = Sampling(50, 3, 0.6, 0.95, 20, 0.1, 1.5, 1.2)
    given = asked(engine, Prompt("q"), sampling, seed=2**40 + 5)
    told = {
        "n": 3,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.1,
        "presence_penalty": 1.5,
        "repetition_penalty": 1.2,
    }
    assert {name: getattr(given, name) for name in told} == told
    # two prompts whose seeds agree in 32 bits are two prompts; member i has seed + i, in 63 bits
    assert given.seed == 2**40 + 5
    assert asked(engine, Prompt("q"), sampling, seed=2**63 - 1).seed + 3 < 2**63
    # vLLM refuses several greedy members: one stands for all
    assert asked(engine, Prompt("q"), Sampling(50, 3, temperature=0.0)).n == 1


def test_a_response_ends_by_our_tokens_alone_and_says_no_forbidden_one(engine) -> None:
    renderer = engine.renderer
    given = asked(engine, Prompt("q"), Sampling(50))
    assert set(given.stop_token_ids) == set(renderer.end_ids)
    assert given.ignore_eos
    assert given.logit_bias == dict.fromkeys(map(int, renderer.forbidden_ids), float("-inf"))
    assert given.logit_bias
    many = SimpleNamespace(forbidden_ids=range(MAX_FORBIDDEN + 1), end_ids=(1,))
    with pytest.raises(UserError, match="use engine hf"):
        control_settings(many)  # type: ignore[arg-type]


def test_nothing_of_the_old_weights_is_left_when_new_ones_are_there(engine) -> None:
    engine.load_weights(WEIGHTS, 3)
    calls = engine.llm.calls
    taken = calls.index("reload_weights")
    for cache in ("prefix cache", "encoder cache", "picture cache"):
        assert taken < calls.index(cache)
    assert calls[-1] == "zppo_sums"
    assert engine.version == 3
    engine.llm.running = True
    with pytest.raises(RuntimeError, match="still running"):
        engine.load_weights(WEIGHTS, 4)


def test_an_engine_that_did_not_take_its_weights_answers_nothing_until_it_does(engine) -> None:
    engine.llm.forgets = "w"
    with pytest.raises(RuntimeError, match="holds other values in w"):
        engine.load_weights(WEIGHTS, 3)
    assert engine.version == 0
    with pytest.raises(RuntimeError, match="load_weights comes first"):
        next(iter(engine.stream([Prompt("q")], Sampling(5), [1])))
    engine.llm.forgets = ""
    engine.load_weights(WEIGHTS, 3)
    assert asked(engine, Prompt("q"), Sampling(5)).max_tokens == 5


@pytest.mark.parametrize(
    ("before", "devices", "seen"),
    [
        (None, "1", "1"),
        ("4,5,6", "0,2", "4,6"),  # counted among those that we see
        ("4,5,6", "", "4,5,6"),
        (None, "", None),
    ],
)
def test_processes_see_their_gpus_alone_and_we_see_ours_again(monkeypatch, before, devices, seen):
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    with _visible(devices):
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before

    @contextmanager
    def failing():
        with _visible(devices):
            yield

    with pytest.raises(RuntimeError, match="no memory"), failing():
        raise RuntimeError("no memory")
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_on_a_cpu_prompts_are_read_whole_and_no_prefix_is_shared() -> None:
    """A chunk of a prompt rewinds its seed's generator there, and a prefix cache needs chunks."""
    given = defaults(on_cpu=True)
    assert (given["enable_chunked_prefill"], given["enable_prefix_caching"]) == (False, False)
    assert "enable_chunked_prefill" not in defaults(on_cpu=False)
