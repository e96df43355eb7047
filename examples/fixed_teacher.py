"""An engine of one's own: the student as transformers runs it, a teacher that is a function.

python flows/zppo_flow.py run --set compute.engine=examples/fixed_teacher.py:KIND
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zppo_core.config import Config
from zppo_core.engines.base import BaseEngine, EngineKind
from zppo_core.engines.hf import HfEngine
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.types import Completion, Prompt


class FixedEngine(BaseEngine):
    """Answers seven, whatever it is asked; its tokens are those of `renderer`."""

    version = 0

    def __init__(self, renderer: Any) -> None:
        self.renderer, self.name = renderer, "always seven"

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        text = "It is seven.</think>So \\boxed{7}"
        ids_T = np.array(self.renderer.encode_text(text), np.int32)[: sampling.max_tokens]
        logp_T = np.zeros(len(ids_T), np.float32)
        one = Completion(text, ids_T, logp_T, "stop", self.version)
        return [(one,) * sampling.n for _ in prompts]

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        raise NotImplementedError("it has no weights")


class FixedTeacher(EngineKind):
    """The trainer's own model samples; every teacher is a `FixedEngine`."""

    in_process = True

    def student(
        self, config: Config, model: Any, renderer: Any, evaluating: bool = False
    ) -> Engine:
        return HfEngine(model, renderer, "student")

    def teacher(
        self, config: Config, name: str, model: Any, renderer: Any, evaluating: bool = False
    ) -> Engine:
        return FixedEngine(renderer)


KIND = FixedTeacher()
