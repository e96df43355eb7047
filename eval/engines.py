"""A model by its name: a folder, a hub id, nano:…, or an endpoint's address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zppo_core import models
from zppo_core.config import Config
from zppo_core.engines.base import KINDS, ForwardingEngine, find_kind
from zppo_core.engines.openai import OpenAIEngine
from zppo_core.engines.watched import WatchedEngine
from zppo_core.errors import UserError
from zppo_core.extensions import is_outside
from zppo_core.processes.watchdog import Watchdog
from zppo_core.protocols import Engine, Finished, Progress, Sampling
from zppo_core.types import Completion, Prompt


class LazyEngine(ForwardingEngine):
    """`engines.base.Engine` that is opened when it is first asked: a judge may have nothing to do.

    `close` ends it, and the next question opens it again.
    """

    def __init__(self, open_it: Callable[[], Engine]) -> None:
        self._open = open_it
        self._engine: Engine | None = None
        self._watched: tuple[Watchdog, str] | None = None

    def watch(self, watchdog: Watchdog, role: str) -> None:
        """Have the engine's silence noticed from here on; opening it may take its time."""
        self._watched = watchdog, role

    def _inner(self) -> Engine:
        if self._engine is None:
            self._engine = self._open()
        return WatchedEngine(self._engine, *self._watched) if self._watched else self._engine

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `engines.base.Engine`."""
        return self._inner().generate(prompts, sampling, seeds, progress) if prompts else []

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """See `engines.base.Engine`."""
        return self._inner().stream(prompts, sampling, seeds, progress) if prompts else iter(())

    def sleep(self, replaced: bool = False) -> None:
        """Leave the GPU to others, if it was opened."""
        if self._engine is not None:
            self._engine.sleep(replaced)

    def close(self) -> None:
        """Give back what the engine holds, if it was opened."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None


@dataclass(frozen=True)
class ModelSpec:
    """Where a model is and what runs it.

    `model` is a folder, a hub id, "nano:student", or "http://host:8000/v1#name" for a model that an
    OpenAI-compatible endpoint serves; its key is in the environment variable `api_key_env`.
    `engine` is "hf" or "vllm"; `max_model_len` [tokens] is vLLM's, 0: the model's own.
    """

    model: str
    engine: str = "hf"
    dtype: str = "bfloat16"
    device: str = "cuda"
    gpus: int = 1
    max_model_len: int = 0
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 32

    def open(self) -> Engine:
        """The engine, ready to generate; UserError if the model or the endpoint is not there."""
        if self.model.startswith(("http://", "https://")):
            return self._endpoint()
        import torch

        if self.engine == "vllm":
            return self._vllm()
        if self.engine not in KINDS and not is_outside(self.engine):
            raise UserError(f"engine {self.engine!r} is not there; it is hf or vllm")
        kind = find_kind(self.engine)
        if kind.in_process:
            model, renderer = models.load(self.model, getattr(torch, self.dtype), self.device)
        else:
            _, vocab, images = models.shape(self.model)
            model, renderer = None, models.load_renderer(self.model, vocab, images)
        return kind.teacher(Config(), self.model, model, renderer, evaluating=True)

    def _endpoint(self) -> Engine:
        address, _, name = self.model.partition("#")
        if not name:
            raise UserError(f"{address}: add the model's name there, like {address}#Qwen3.5-27B")
        engine = OpenAIEngine(address, name, self.api_key_env, self.concurrency)
        engine.check()
        return engine

    def _vllm(self) -> Engine:
        from zppo_core.engines.vllm import VllmEngine

        _, vocab, images = models.shape(self.model)
        settings: dict[str, Any] = {"dtype": self.dtype}
        if self.max_model_len:
            settings["max_model_len"] = self.max_model_len
        several = self.gpus > 1
        return VllmEngine(
            self.model,
            models.load_renderer(self.model, vocab, images),
            transport="file" if several else "memory",
            tensor_parallel_size=self.gpus,
            **settings,
        )
