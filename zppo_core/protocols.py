"""The engine seam: whoever generates text, for the student, the teacher or the judge.

Implementations: `hf` (transformers, CPU or one GPU), `vllm`, `openai` (any compatible endpoint) and
`scripted` (tests). Nobody asks whether an engine has an ability: `engines.base.BaseEngine` has what
most need not do. Results come back in the order of submission, never of completion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import torch

# a prompt's place in its call, and its completions
Finished = tuple[int, tuple[Completion, ...]]
# called with (prompts finished, prompts in all); never changes the results
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Progress that nobody hears of."""


@dataclass(frozen=True)
class Sampling:
    """How to decode: `n` completions a prompt; temperature 0 is greedy; `top_k` 0 means no limit.

    The paper's rollouts: temperature 1, top-p 1, no top-k, no penalties (Table 8).
    """

    max_tokens: int
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0


class Engine(Protocol):
    """Generates completions; holds weights of one `version` at a time."""

    @property
    def name(self) -> str:
        """Identity of the weights for caches: a content hash or an endpoint's model id."""
        ...

    @property
    def version(self) -> int:
        """Of the weights that it holds now."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """`sampling.n` completions for each prompt, in the prompts' order.

        `seeds` holds one seed a prompt; completion i of a prompt depends on (its seed, i) and on
        the weights, not on what else is in the batch. Every completion carries `version`.
        """
        ...

    @property
    def joins(self) -> bool:
        """Whether calls of several threads go on together, their requests joining those at work.

        If not, a call is one batch, and the next one waits for all of it.
        """
        ...

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """`generate` as it goes on: what has finished together comes as one list, each prompt once.

        Whoever closes the iterator drops what has not finished.
        """
        ...

    @property
    def context(self) -> int:
        """Tokens of a prompt and its response at most; 0: not known."""
        ...

    @property
    def shares_weights(self) -> bool:
        """Whether it runs the trainer's own model, so that new weights are there already."""
        ...

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Take the weights and `version`; raises if a name is missing or left over.

        `path` is where `staged` has put them for all engines of a host; empty: nowhere.
        """
        ...

    def staged(self, weights: Mapping[str, torch.Tensor]) -> AbstractContextManager[str]:
        """A file of the weights for the `path` of several engines; empty if it needs none."""
        ...

    def sleep(self, replaced: bool = False) -> None:
        """Leave the GPU to others until it is asked next.

        With `replaced` new weights come before that, and those of now need not be kept.
        """
        ...

    def close(self) -> None:
        """End its processes; the engine is of no use afterwards."""
        ...
