"""An engine whose silence is noticed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

from zppo_core.engines.base import ForwardingEngine
from zppo_core.errors import shown
from zppo_core.processes.watchdog import Watchdog
from zppo_core.protocols import Engine, Finished, Progress, Sampling
from zppo_core.types import Completion, Prompt


@dataclass(frozen=True)
class WatchedEngine(ForwardingEngine):
    """An engine that `watchdog` ends if it gives nothing back and does not say how far it is.

    A fault names it by its `role`. Time in which nobody waits for it is not its silence.
    """

    inner: Engine
    watchdog: Watchdog
    role: str

    def _inner(self) -> Engine:
        return self.inner

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `zppo_core.protocols.Engine`; UserError after too long a silence."""
        with self._watched(prompts) as sign:
            return self.inner.generate(prompts, sampling, seeds, signing(sign, progress))

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """See `zppo_core.protocols.Engine`; UserError after too long a silence."""
        sign: list[Callable[[], None]] = []  # of the wait for the next groups
        told = signing(lambda: sign[-1](), progress)
        groups = self.inner.stream(prompts, sampling, seeds, told)
        with closing(groups) if isinstance(groups, Generator) else nullcontext():
            while True:
                with self._watched(prompts) as alive:
                    sign[:] = [alive]
                    finished = next(groups, None)
                if finished is None:
                    return
                yield finished

    def _watched(self, prompts: Sequence[Prompt]) -> AbstractContextManager[Callable[[], None]]:
        """Who is waited for, by its name and the last of its prompts."""
        last = shown(prompts[-1].text) if prompts else "none"
        asked = f"the {self.role}'s engine {self.name}, asked {len(prompts)} prompts, last {last}"
        return self.watchdog.over(asked)


def signing(sign: Callable[[], None], progress: Progress | None) -> Progress:
    """Progress that is a sign of life too."""

    def report(done: int, total: int) -> None:
        sign()
        if progress is not None:
            progress(done, total)

    return report
