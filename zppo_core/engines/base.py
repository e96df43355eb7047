"""What kinds of engines have in common: how one is opened, and what most need not do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from zppo_core.config import Config
from zppo_core.extensions import is_outside, load
from zppo_core.protocols import Engine, Finished, Progress, Sampling
from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from zppo_core.models.renderer import Renderer

# what `compute.engine` may name beside a kind of one's own
KINDS = {"hf": "zppo_core.engines.hf:KIND", "vllm": "zppo_core.engines.vllm_kind:KIND"}


class EngineKind(ABC):
    """How `compute.engine` is opened, for the student and for teachers.

    `in_process`: it runs transformers models that this process has loaded, and so the trainer's
    own. Any other loads a model by its name, and has weights copied.
    """

    in_process: bool = False

    @abstractmethod
    def student(
        self,
        config: Config,
        model: PreTrainedModel | None,
        renderer: Renderer,
        evaluating: bool = False,
    ) -> Engine:
        """The student's engine: for rollouts, or for benchmarks alone if `evaluating`.

        `model` is the trainer's own, None unless `in_process`.
        """

    @abstractmethod
    def teacher(
        self,
        config: Config,
        name: str,
        model: PreTrainedModel | None,
        renderer: Renderer,
        evaluating: bool = False,
    ) -> Engine:
        """The engine of the teacher `name`; `model` is its own, None unless `in_process`."""


def find_kind(name: str) -> EngineKind:
    """The kind of this name: hf, vllm, or `package.module:NAME`; UserError if there is none."""
    place = name if is_outside(name) else KINDS[name]
    return load(place, EngineKind, "engine")  # type: ignore[type-abstract]


def kind_of(config: Config) -> EngineKind:
    """The kind of engine of a run."""
    return find_kind(config.compute.engine)


class BaseEngine(ABC):
    """The abilities that an engine may do without; a kind of one's own may begin here.

    As it stands here, an engine does one batch after the other.
    """

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `zppo_core.protocols.Engine`."""

    @property
    def joins(self) -> bool:
        """Whether calls of several threads go on together."""
        return False

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """All of `generate` at its end; see `zppo_core.protocols.Engine`."""
        yield list(enumerate(self.generate(prompts, sampling, seeds, progress)))

    @property
    def context(self) -> int:
        """Tokens of a prompt and its response at most; 0: not known."""
        return 0

    @property
    def shares_weights(self) -> bool:
        """Whether it runs the trainer's own model, so that new weights are there already."""
        return False

    def staged(self, weights: Mapping[str, torch.Tensor]) -> AbstractContextManager[str]:
        """A file of the weights for all engines of one host; empty: each takes them by itself."""
        return nullcontext("")

    def sleep(self, replaced: bool = False) -> None:  # noqa: B027 - most have no GPU to leave
        """See `zppo_core.protocols.Engine`."""

    def close(self) -> None:  # noqa: B027 - most have no process to end
        """End its processes."""


class StreamingEngine(BaseEngine):
    """An engine that gives each group back as it finishes, and takes requests meanwhile."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """The groups of a stream in the prompts' order; see `zppo_core.protocols.Engine`."""
        return ordered(self.stream(prompts, sampling, seeds, progress), len(prompts))

    @property
    def joins(self) -> bool:
        return True

    @abstractmethod
    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """See `zppo_core.protocols.Engine`."""


class ForwardingEngine(ABC):
    """An engine that is another one, but for what a subclass does otherwise."""

    @abstractmethod
    def _inner(self) -> Engine: ...

    @property
    def name(self) -> str:
        return self._inner().name

    @property
    def version(self) -> int:
        return self._inner().version

    @property
    def context(self) -> int:
        return self._inner().context

    @property
    def shares_weights(self) -> bool:
        return self._inner().shares_weights

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `zppo_core.protocols.Engine`."""
        return self._inner().generate(prompts, sampling, seeds, progress)

    @property
    def joins(self) -> bool:
        return self._inner().joins

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """See `zppo_core.protocols.Engine`."""
        return self._inner().stream(prompts, sampling, seeds, progress)

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """See `zppo_core.protocols.Engine`."""
        self._inner().load_weights(weights, version, path)

    def staged(self, weights: Mapping[str, torch.Tensor]) -> AbstractContextManager[str]:
        """See `zppo_core.protocols.Engine`."""
        return self._inner().staged(weights)

    def sleep(self, replaced: bool = False) -> None:
        """See `zppo_core.protocols.Engine`."""
        self._inner().sleep(replaced)

    def close(self) -> None:
        """See `zppo_core.protocols.Engine`."""
        self._inner().close()


def ordered(finished: Iterable[list[Finished]], count: int) -> list[tuple[Completion, ...]]:
    """What a stream of `count` prompts gave, in their order; ValueError if one has no answer."""
    groups = dict(pair for together in finished for pair in together)
    if len(groups) != count:
        raise ValueError(f"{count} prompts, {len(groups)} answers")
    return [groups[i] for i in range(count)]


def is_address(model: str) -> bool:
    """Whether a model is named by the address of an endpoint."""
    return model.startswith(("http://", "https://"))
