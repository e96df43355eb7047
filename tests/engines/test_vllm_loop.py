"""Continuous batching over vLLM's own steps, with a stand-in for its engine."""

import threading
import time
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


def test_an_output_that_goes_on_is_no_answer_yet(llm, loop) -> None:
    step = llm.step

    def with_parts() -> list[SimpleNamespace]:
        done = step()
        return [SimpleNamespace(request_id=name, finished=False) for name in llm.left] + done

    llm.step = with_parts
    given = [pair for part in loop.run(requests(3, 1)) for pair in part]
    assert [place for place, _ in given] == [1, 0]
    assert all(output.finished for _, output in given)


def test_a_loop_that_failed_rests_until_it_is_asked_again(llm, loop) -> None:
    steps = []

    def broken() -> list[SimpleNamespace]:
        steps.append(1)
        raise RuntimeError("out of memory")

    llm.step = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        list(loop.run(requests(1, 1)))
    time.sleep(0.1)
    assert len(steps) == 1


def test_a_request_that_nobody_waits_for_any_more_is_not_begun(llm, loop) -> None:
    llm.gate = threading.Semaphore(0)
    first = loop.run(requests(1))
    begun = threading.Thread(target=lambda: list(first), daemon=True)
    begun.start()
    while not llm.left:  # the loop is in a step, which waits
        time.sleep(0.01)
    late = loop.run(requests(50))
    asking = threading.Thread(target=lambda: next(late, None), daemon=True)
    asking.start()
    while not loop._added:
        time.sleep(0.01)
    loop._added[0].call.dropped = True  # as its caller's end does
    llm.gate.release(10**6)
    begun.join(20)
    assert [i for part in loop.run(requests(1)) for i, _ in part] == [0]
    assert not llm.aborted
    assert not llm.left
