import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.engines.pool import EnginePool
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.protocols import Sampling
from zppo_core.types import Prompt


def scripted(seconds: float = 0.0) -> ScriptedEngine:
    return ScriptedEngine(lambda prompt, member: f"{prompt.text}/{member}", seconds=seconds)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 9))
def test_a_pool_says_what_one_engine_would(engines: int, count: int) -> None:
    prompts = [Prompt(f"q{i}") for i in range(count)]
    steps: list[tuple[int, int]] = []
    pool = EnginePool([scripted(0.001 * (engines - i)) for i in range(engines)])
    made = pool.generate(prompts, Sampling(9, n=2), range(count), lambda *p: steps.append(p))
    want = scripted().generate(prompts, Sampling(9, n=2), range(count))
    assert [[c.text for c in g] for g in made] == [[c.text for c in g] for g in want]
    assert [s for s, _ in steps] == sorted(s for s, _ in steps)
    assert not count or steps[-1] == (count, count)


def test_weights_reach_every_engine_or_the_fault_is_raised() -> None:
    engines = [scripted(), scripted()]
    pool = EnginePool(engines)
    pool.load_weights({}, 5)
    assert [pool.version, *(e.version for e in engines)] == [5, 5, 5]
    made = pool.generate([Prompt("a"), Prompt("b")], Sampling(9), [0, 1])
    assert {c.version for g in made for c in g} == {5}
    assert not np.isnan(made[0][0].logp_T).any()

    def refuse(weights: object, version: int, path: str = "") -> None:
        raise KeyError("missing")

    engines[1].load_weights = refuse  # type: ignore[method-assign]
    with pytest.raises(KeyError, match="missing"):
        pool.load_weights({}, 6)
    assert pool.version == 5
    with pytest.raises(ValueError, match="same weights"):
        EnginePool([ScriptedEngine(lambda p, m: "", version=v) for v in (1, 2)])
    with pytest.raises(ValueError, match="2 seeds"):
        pool.generate([Prompt("a")], Sampling(9), [0, 1])


class Gated(ScriptedEngine):
    """Joins requests; each call waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, member: prompt.text, joins=True)
        self.gate = threading.Event()

    def generate(self, prompts, *rest):
        assert self.gate.wait(20)
        return super().generate(prompts, *rest)


def test_what_one_engine_has_finished_comes_before_another_is_done() -> None:
    engines = Gated(), Gated()
    pool = EnginePool(engines)
    assert pool.joins
    stream = pool.stream([Prompt(t) for t in "abcd"], Sampling(9), range(4))
    engines[1].gate.set()
    assert [[(i, g[0].text) for i, g in next(stream)] for _ in range(2)] == [[(1, "b")], [(3, "d")]]
    engines[0].gate.set()
    assert [[(i, g[0].text) for i, g in part] for part in stream] == [[(0, "a")], [(2, "c")]]
    assert not EnginePool([scripted(), Gated()]).joins


def test_a_prompt_goes_to_the_engine_that_has_the_fewest() -> None:
    engines = Gated(), Gated(), Gated()
    pool = EnginePool(engines)
    calls = [
        threading.Thread(target=pool.generate, args=([Prompt("a")] * n, Sampling(9), range(n)))
        for n in (2, 2)
    ]
    for call in calls:
        call.start()
    for engine in engines:
        engine.gate.set()
    for call in calls:
        call.join()
    assert sorted(len(e.asked) for e in engines) == [1, 1, 2]
    pool.generate([Prompt(str(i)) for i in range(5)], Sampling(9), range(5))
    last = [[p.text for p in e.asked if p.text != "a"] for e in engines]
    assert last == [["0", "3"], ["1", "4"], ["2"]]  # where none is at work, in turn


def test_the_first_fault_ends_a_stream_while_others_are_at_work() -> None:
    class Broken(ScriptedEngine):
        def generate(self, *arguments):
            raise ConnectionError("gone")

    waiting = Gated()
    pool = EnginePool([waiting, Broken(lambda p, m: "", joins=True)])
    with pytest.raises(ConnectionError, match="gone"):
        pool.generate([Prompt("a"), Prompt("b")], Sampling(9), [0, 1])
    waiting.gate.set()
