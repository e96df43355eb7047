"""What of a vLLM engine's memory is given away and taken back, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from zppo_core.engines.vllm import VllmEngine
from zppo_core.engines.vllm_sleep import TAGS, Sleep


class Recorded:
    """Stands for `vllm.LLM`; refuses what vLLM refuses."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.away: set[str] = set()

    def sleep(self, level: int) -> None:
        assert not self.away
        self.calls.append(level)
        self.away = set(TAGS)

    def wake_up(self, tags: list[str]) -> None:
        assert self.away >= set(tags)
        self.calls.append(tags)
        self.away -= set(tags)


def test_new_weights_have_room_before_keys_and_values() -> None:
    llm = Recorded()
    memory = Sleep(llm)
    memory.wake()
    memory.sleep(replaced=True)
    memory.sleep(replaced=True)
    assert memory.lost
    memory.wake(("weights",))
    memory.wake()
    memory.wake()
    assert llm.calls == [2, ["weights"], ["kv_cache"]]


def test_weights_that_stay_are_copied_and_are_not_lost() -> None:
    llm = Recorded()
    memory = Sleep(llm)
    memory.sleep(replaced=False)
    assert not memory.lost
    memory.wake()
    assert llm.calls == [1, list(TAGS)]


def test_an_engine_half_awake_sleeps_again_as_a_whole() -> None:
    llm = Recorded()
    memory = Sleep(llm)
    memory.sleep(replaced=True)
    memory.wake(("weights",))
    memory.sleep(replaced=True)
    assert llm.calls == [2, ["weights"], ["kv_cache"], 2]
    memory.sleep(replaced=False)
    assert memory.lost  # a second call does not bring dropped weights back


def test_an_engine_whose_weights_were_dropped_answers_nothing() -> None:
    engine = object.__new__(VllmEngine)
    engine._unfit, engine._sleep = False, Sleep(Recorded())
    engine._sleep.sleep(replaced=True)
    with pytest.raises(RuntimeError, match="load_weights comes first"):
        next(iter(engine.stream([], None, [])))  # type: ignore[arg-type]
