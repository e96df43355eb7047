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
