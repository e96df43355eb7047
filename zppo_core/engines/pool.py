"""Several engines of the same weights as one, a GPU or a host each; prompts are dealt out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from zppo_core.engines.base import StreamingEngine
from zppo_core.protocols import Engine, Finished, Progress, Sampling
from zppo_core.types import Prompt

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class EnginePool(StreamingEngine):
    """`engines.base.Engine` over `engines`, which work at the same time in threads.

    A prompt goes to the engine that has the fewest at work, the first of them: where none are,
    prompt i goes to engine i mod their number. A completion depends on its prompt's seed, not on
    the engine.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if len({(e.name, e.version) for e in engines}) != 1:
            raise ValueError("a pool's engines hold the same weights")
        self.engines = tuple(engines)
        self.name: str = engines[0].name
        self.version: int = engines[0].version
        self._lock, self._busy = threading.Lock(), [0] * len(engines)

    @property
    def joins(self) -> bool:
        """Whether all of them do."""
        return all(engine.joins for engine in self.engines)

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """What any engine has finished, at once; the first fault of one ends it for all."""
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts, {len(seeds)} seeds")
        places, lock, done = self._deal(len(prompts)), threading.Lock(), [0] * len(self.engines)
        heard: SimpleQueue[list[Finished] | BaseException | None] = SimpleQueue()
        stop = threading.Event()

        def share(i: int) -> None:
            def told(finished: int, _: int) -> None:
                with lock:
                    done[i] = finished
                    if progress is not None:
                        progress(sum(done), len(prompts))

            at, left = places[i], len(places[i])
            asked = [prompts[p] for p in at], sampling, [seeds[p] for p in at], told
            try:
                for together in self.engines[i].stream(*asked):
                    left -= len(together)
                    self._release(i, len(together))
                    heard.put([(at[j], group) for j, group in together])
                    if stop.is_set():
                        return
                heard.put(None)
            except BaseException as error:  # raised below, where it is waited for
                heard.put(error)
            finally:
                self._release(i, left)

        working = [i for i, at in enumerate(places) if at]
        for i in working:
            # an executor's threads would hold the exit until their requests are answered
            threading.Thread(target=share, args=(i,), name="engine", daemon=True).start()
        ended = 0
        try:
            while ended < len(working):
                given = heard.get()
                if isinstance(given, BaseException):
                    raise given
                if given is None:
                    ended += 1
                else:
                    yield given
        finally:
            stop.set()

    def _deal(self, count: int) -> list[list[int]]:
        """The places of a call's prompts that each engine has."""
        dealt: list[list[int]] = [[] for _ in self.engines]
        with self._lock:
            for place in range(count):
                least = self._busy.index(min(self._busy))
                self._busy[least] += 1
                dealt[least].append(place)
        return dealt

    def _release(self, i: int, count: int) -> None:
        with self._lock:
            self._busy[i] -= count

    @property
    def context(self) -> int:
        """The least of theirs that is known."""
        return min(filter(None, (e.context for e in self.engines)), default=0)

    @property
    def shares_weights(self) -> bool:
        """Whether the first, which is of this host, runs the trainer's own model."""
        return self.engines[0].shares_weights

    def staged(self, weights: Mapping[str, torch.Tensor]) -> AbstractContextManager[str]:
        """As the first does it."""
        return self.engines[0].staged(weights)

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """All engines take the weights at the same time, from one file if they can stage it."""
        with nullcontext(path) if path else self.staged(weights) as place:
            self._each(lambda i: self.engines[i].load_weights(weights, version, place))
        self.version = version

    def sleep(self, replaced: bool = False) -> None:
        """All leave their GPUs to others; see `zppo_core.protocols.Engine`."""
        self._each(lambda i: self.engines[i].sleep(replaced))

    def close(self) -> None:
        """End them all; the pool is of no use afterwards."""
        for engine in self.engines:
            engine.close()

    def _each(self, act: Callable[[int], T]) -> list[T]:
        """`act` of every engine's number; the first fault in their order is raised."""
        with ThreadPoolExecutor(len(self.engines)) as pool:
            return list(pool.map(act, range(len(self.engines))))
