"""Several engines of the same weights as one, a GPU or a host each; prompts are dealt out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class EnginePool:
    """`engines.base.Engine` over `engines`, which work at the same time in threads.

    Prompt i goes to engine i mod their number, so that long and short ones mix. A completion
    depends on its prompt's seed, not on the engine.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if len({(e.name, e.version) for e in engines}) != 1:
            raise ValueError("a pool's engines hold the same weights")
        self.engines = tuple(engines)
        self.name: str = engines[0].name
        self.version: int = engines[0].version

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """`sampling.n` completions for each prompt, in order; see `engines.base.Engine`."""
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts, {len(seeds)} seeds")
        count, lock, done = len(self.engines), threading.Lock(), [0] * len(self.engines)

        def share(i: int) -> list[tuple[Completion, ...]]:
            def told(finished: int, _: int) -> None:
                with lock:
                    done[i] = finished
                    if progress is not None:
                        progress(sum(done), len(prompts))

            return self.engines[i].generate(prompts[i::count], sampling, seeds[i::count], told)

        results: list[tuple[Completion, ...]] = [()] * len(prompts)
        for i, part in enumerate(self._each(share)):
            results[i::count] = part
        return results

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

    def sleep(self) -> None:
        """All leave their GPUs to others."""
        self._each(lambda i: self.engines[i].sleep())

    def close(self) -> None:
        """End them all; the pool is of no use afterwards."""
        for engine in self.engines:
            engine.close()

    def _each(self, act: Callable[[int], T]) -> list[T]:
        """`act` of every engine's number; the first fault in their order is raised."""
        with ThreadPoolExecutor(len(self.engines)) as pool:
            return list(pool.map(act, range(len(self.engines))))
