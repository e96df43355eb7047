"""Continuous batching over vLLM's own steps, with a stand-in for its engine."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from zppo_core.engines.vllm_loop import StepLoop


class StandIn:
    """A request needs as many steps as its prompt says; a step waits until it is let go."""

    def __init__(self) -> None:
        self.llm_engine = self
        self.left: dict[str, int] = {}
        self.aborted: list[str] = []
        self.together: list[int] = []  # requests at work in each step
        self.gate = threading.Semaphore(10**6)
        self.threads: set[str] = set()
        self.broken = False
        self.count = iter(range(10**6))

    def enqueue(self, prompt, settings, use_tqdm) -> list[str]:
        if settings == "refused":
            raise ValueError("no such setting")
        name = str(next(self.count))
        self.left[name] = prompt["steps"]
        return [f"{name}-0123abcd"]

    def step(self) -> list[SimpleNamespace]:
        assert self.gate.acquire(timeout=20)
        if self.broken:
            raise RuntimeError("out of memory")
        self.threads.add(threading.current_thread().name)
        self.together.append(len(self.left))
        self.left = {name: left - 1 for name, left in self.left.items()}
        done = [name for name, left in self.left.items() if left == 0]
        for name in done:
            del self.left[name]
        return [SimpleNamespace(request_id=name, finished=True) for name in done]

    def abort_request(self, names) -> None:
        self.aborted += names
        for name in names:
            self.left.pop(name, None)


@pytest.fixture
def llm() -> StandIn:
    return StandIn()


@pytest.fixture
def loop(llm: StandIn) -> Iterator[StepLoop]:
    made = StepLoop(llm)
    yield made
    made.close()
    assert not [t for t in threading.enumerate() if t.name == "vllm"]


def requests(*steps: int, settings: str = "") -> list[tuple[int, dict[str, int], str]]:
    return [(i, {"steps": s}, settings) for i, s in enumerate(steps)]


def test_a_call_begins_together_and_hears_of_each_as_it_is_finished(llm, loop) -> None:
    assert [[i for i, _ in part] for part in loop.run(requests(3, 1, 3, 2))] == [[1], [3], [0, 2]]
    assert llm.together == [4, 3, 2]
    assert list(loop.run([])) == []
    assert llm.threads == {"vllm"}


def test_a_later_call_joins_and_may_end_first(llm, loop) -> None:
    first = loop.run(requests(1, 10**6))
    assert [i for i, _ in next(first)] == [0]
    assert [[i for i, _ in part] for part in loop.run(requests(2, 1))] == [[1], [0]]
    assert 3 in llm.together
    assert len(llm.left) == 1  # the first goes on


def test_who_closes_the_stream_drops_the_rest(llm, loop) -> None:
    llm.gate = threading.Semaphore(1)
    stream = loop.run(requests(1, 100, 100))
    next(stream)
    stream.close()
    llm.gate.release(10**6)
    assert [i for i, _ in next(loop.run(requests(1)))] == [0]
    assert sorted(llm.aborted) == ["1", "2"]
    assert not llm.left


def test_a_request_that_is_refused_ends_its_own_call_alone(loop) -> None:
    first = loop.run(requests(1, 10**5))
    next(first)
    with pytest.raises(ValueError, match="no such setting"):
        list(loop.run(requests(1, settings="refused")))
    assert [[i for i, _ in part] for part in first] == [[1]]


def test_a_fault_of_the_engine_is_told_to_all_and_it_may_be_asked_again(llm, loop) -> None:
    llm.broken = True
    with pytest.raises(RuntimeError, match="out of memory"):
        list(loop.run(requests(1)))
    llm.broken = False
    llm.left = {}
    assert len(list(loop.run(requests(1)))) == 1


def test_an_engine_that_is_closed_answers_nobody(llm) -> None:
    loop = StepLoop(llm)
    llm.gate = threading.Semaphore(1)
    stream = loop.run(requests(1, 10**6))
    next(stream)
    threading.Thread(target=loop.close).start()
    llm.gate.release(10**6)
    with pytest.raises(RuntimeError, match="closed"):
        list(stream)
