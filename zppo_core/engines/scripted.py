"""An engine that answers by a function: for tests, and for timing everything but the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zppo_core.engines.base import BaseEngine
from zppo_core.protocols import Finished, Progress, Sampling
from zppo_core.types import Completion, Finish, Prompt

if TYPE_CHECKING:
    import torch


class ScriptedEngine(BaseEngine):
    """`answer(prompt, member)` is what member i of a prompt's group says; tokens are its bytes.

    `seconds` are slept for each call, as a model's time. Answers longer than `max_tokens` bytes
    are cut, as a model's would be. If it `joins`, each prompt of a stream is a call of its own.
    """

    def __init__(
        self,
        answer: Callable[[Prompt, int], str],
        name: str = "scripted",
        version: int = 0,
        seconds: float = 0.0,
        joins: bool = False,
    ) -> None:
        self.answer, self.name, self.version, self.seconds = answer, name, version, seconds
        self._joins = joins
        self.asked: list[Prompt] = []  # every prompt, in order

    @property
    def joins(self) -> bool:
        return self._joins

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """See `engines.base.Engine`."""
        if not self.joins:
            yield from super().stream(prompts, sampling, seeds, progress)
            return
        for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            (group,) = self.generate([prompt], sampling, [seed])
            if progress is not None:
                progress(i + 1, len(prompts))
            yield [(i, group)]

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `engines.base.Engine`."""
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts, {len(seeds)} seeds")
        time.sleep(self.seconds)
        self.asked += prompts
        groups = []
        for done, prompt in enumerate(prompts, 1):
            texts = [self.answer(prompt, member) for member in range(sampling.n)]
            groups.append(tuple(self._completion(text, sampling.max_tokens) for text in texts))
            if progress is not None:
                progress(done, len(prompts))
        return groups

    def _completion(self, text: str, cap: int) -> Completion:
        data = text.encode()
        cut = data[:cap].decode(errors="ignore")
        ids = np.frombuffer(cut.encode(), np.uint8).astype(np.int32)
        finish: Finish = "length" if len(data) > cap else "stop"
        return Completion(cut, ids, np.zeros(len(ids), np.float32), finish, self.version)

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Take the version; there are no weights."""
        self.version = version
