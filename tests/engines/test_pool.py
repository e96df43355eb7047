import threading
from contextlib import contextmanager

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


class Counted(ScriptedEngine):
    """With a context, and what it was told of sleep, end and staged weights."""

    def __init__(self, context: int = 0, **named) -> None:
        super().__init__(lambda prompt, member: prompt.text, **named)
        self.tokens, self.told = context, []

    @property
    def context(self) -> int:
        return self.tokens

    def sleep(self, replaced: bool = False) -> None:
        self.told.append(replaced)

    def close(self) -> None:
        self.told.append("closed")

    @contextmanager
    def staged(self, weights):
        self.told.append("staged")
        yield "a file"

    def load_weights(self, weights, version, path="") -> None:
        super().load_weights(weights, version)
        self.told.append(path)


@pytest.mark.parametrize(
    ("contexts", "known"), [((0, 0), 0), ((0, 9), 9), ((7, 9), 7), ((9, 7, 0), 7)]
)
def test_a_pools_context_is_the_least_that_an_engine_knows(contexts, known: int) -> None:
    assert EnginePool([Counted(c) for c in contexts]).context == known


def test_what_a_pool_is_told_every_engine_is_told() -> None:
    engines = Counted(), Counted()
    pool = EnginePool(engines)
    pool.load_weights({}, 1)  # one file for all, staged by the first
    pool.load_weights({}, 2, "another file")  # which is there already
    pool.sleep(replaced=True)
    pool.sleep()
    pool.close()
    assert engines[0].told == ["staged", "a file", "another file", True, False, "closed"]
    assert engines[1].told == ["a file", "another file", True, False, "closed"]


def test_an_engine_that_failed_is_asked_again_like_the_others() -> None:
    engines = [Counted(), Counted()]
    pool = EnginePool(engines)
    answer, engines[0].answer = engines[0].answer, lambda prompt, member: 1 / 0
    with pytest.raises(ZeroDivisionError):
        pool.generate([Prompt(str(i)) for i in range(6)], Sampling(9), range(6))
    engines[0].answer = answer
    for thread in threading.enumerate():  # the other one may still be at work
        if thread.name == "engine":
            thread.join(20)
    before = [len(e.asked) for e in engines]
    pool.generate([Prompt(str(i)) for i in range(4)], Sampling(9), range(4))
    assert [len(e.asked) - n for e, n in zip(engines, before, strict=True)] == [2, 2]


def test_engines_stop_when_nobody_listens_to_the_rest_of_a_stream() -> None:
    engine = Counted(seconds=0.01, joins=True)
    count = 400
    stream = EnginePool([engine]).stream([Prompt("q")] * count, Sampling(9), range(count))
    next(stream)
    stream.close()
    for thread in threading.enumerate():
        if thread.name == "engine":
            thread.join(20)
    assert len(engine.asked) < count
