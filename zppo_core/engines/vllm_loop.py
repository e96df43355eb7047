"""vLLM's own steps in one thread, as long as there is work; requests of any thread join them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any


@dataclass(eq=False)
class _Call:
    """Requests of one caller, who hears of them by their places."""

    heard: SimpleQueue[list[tuple[int, Any]] | BaseException] = field(default_factory=SimpleQueue)
    dropped: bool = False


@dataclass(frozen=True)
class _Request:
    """A prompt in vLLM's form, and its `vllm.SamplingParams`."""

    call: _Call
    place: int
    prompt: dict[str, Any]
    settings: Any


class StepLoop:
    """Continuous batching over a `vllm.LLM`, whose own `generate` would hold its caller to the end.

    vLLM's engine is touched by the loop's thread alone while requests are at work.
    """

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        self._changed = threading.Condition()
        self._added: list[_Request] = []
        self._working: dict[str, _Request] = {}  # by vLLM's name for it
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(
        self, requests: Sequence[tuple[int, dict[str, Any], Any]]
    ) -> Iterator[list[tuple[int, Any]]]:
        """The finished `vllm.RequestOutput` of requests (place, prompt, settings), as they come.

        Requests of one call begin together, so that a call alone repeats. Those that have not
        finished are dropped when the iterator is closed.
        """
        call, waiting = _Call(), len(requests)
        self._add([_Request(call, *request) for request in requests])
        try:
            while waiting:
                given = call.heard.get()
                if isinstance(given, BaseException):
                    raise given
                waiting -= len(given)
                yield given
        finally:
            call.dropped = True

    def close(self) -> None:
        """End the thread; what was asked for is not answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _add(self, requests: Sequence[_Request]) -> None:
        with self._changed:
            if self._thread is None:
                # a thread that waits for requests must not hold the end of the process
                self._thread = threading.Thread(target=self._work, name="vllm", daemon=True)
                self._thread.start()
            self._added += requests
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._added or self._working or self._closed):
                    self._changed.wait()
                if self._closed:
                    break
                added, self._added = self._added, []
            try:
                self._step(added)
            except BaseException as error:  # raised where the requests are waited for
                self._fail([*added, *self._working.values()], error)
        self._fail([*self._added, *self._working.values()], RuntimeError("the engine was closed"))

    def _step(self, added: Sequence[_Request]) -> None:
        for request in added:
            if request.call.dropped:
                continue
            try:
                (name,) = self._llm.enqueue(request.prompt, request.settings, use_tqdm=False)
            except Exception as error:  # vLLM refuses this one: the others go on
                request.call.heard.put(error)
                request.call.dropped = True
                continue
            # it answers by the name before the characters that it added
            self._working[name.partition("-")[0]] = request
        engine = self._llm.llm_engine
        gone = [name for name, request in self._working.items() if request.call.dropped]
        if gone:
            engine.abort_request(gone)
            for name in gone:
                del self._working[name]
        if not self._working:
            return
        finished: dict[_Call, list[tuple[int, Any]]] = {}
        for output in engine.step():
            if output.finished and output.request_id in self._working:
                request = self._working.pop(output.request_id)
                finished.setdefault(request.call, []).append((request.place, output))
        for call, together in finished.items():
            call.heard.put(together)

    def _fail(self, requests: Sequence[_Request], error: BaseException) -> None:
        for call in dict.fromkeys(request.call for request in requests):
            call.heard.put(error)
        self._working.clear()
