"""An engine's GPU memory by turns: vLLM gives it away, and takes weights and cache back apart."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

TAGS = ("weights", "kv_cache")  # vLLM's names of what it can take back by itself


class Sleeper(Protocol):
    """What is asked of `vllm.LLM`."""

    def sleep(self, level: int) -> object: ...
    def wake_up(self, tags: list[str]) -> object: ...


class Sleep:
    """What of `llm`'s GPU memory is given away; calls of several threads may meet.

    An engine has what sleep needs by `enable_sleep_mode=True`. `lost` says that weights are gone
    for good: they were given away without a copy.
    """

    def __init__(self, llm: Sleeper) -> None:
        self.llm, self.lost = llm, False
        self._away: set[str] = set()
        self._lock = threading.Lock()

    def sleep(self, replaced: bool) -> None:
        """Give all of it away; weights that are `replaced` before they are used are not copied.

        Copies go to main memory and back: 9 GB for a student of 4B, at every rollout step.
        """
        with self._lock:
            if self._away == set(TAGS):
                return
            self._take(TAGS)  # vLLM puts whole engines to sleep
            self.llm.sleep(level=2 if replaced else 1)
            self._away, self.lost = set(TAGS), self.lost or replaced

    def wake(self, tags: Sequence[str] = TAGS) -> None:
        """Take back what is away of `tags`: new weights first, then room for keys and values."""
        with self._lock:
            self._take(tags)

    def _take(self, tags: Sequence[str]) -> None:
        if due := [tag for tag in tags if tag in self._away]:
            self.llm.wake_up(tags=due)
            self._away -= set(due)
