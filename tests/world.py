"""A tiny random Qwen3.5 with its renderer, and groups on it, for trainer and engine tests."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.data.digits import benchmark_questions, train_questions
from zppo_core.models.nano import build as nano
from zppo_core.models.renderer import Renderer
from zppo_core.prompts import OURS
from zppo_core.training.updater import Trainer
from zppo_core.types import Prompt

FREE = OptimizerConfig(lr=1e-3, weight_decay=0.0, max_grad_norm=1e9)


@lru_cache(maxsize=1)
def _built() -> tuple[Any, Renderer]:
    tokenizer = nano.build_tokenizer()
    processor = nano.build_processor(tokenizer)
    model = nano.build_model(tokenizer, 1)
    # away from the start, where the delta layers' decay and the head hardly matter
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return model.eval(), Renderer(tokenizer, processor.image_processor, nano.VOCAB)


def renderer() -> Renderer:
    return _built()[1]


def model(dtype: torch.dtype = torch.float32) -> Any:
    """A copy that the caller may change."""
    return copy.deepcopy(_built()[0]).to(dtype)


def prompts(rows: int = 3, texts: int = 1, frames: int = 1) -> list[Prompt]:
    """Prompts with one image, none, and several."""
    questions = train_questions(rows, 0)
    questions += benchmark_questions("nano_text", texts) if texts else []
    questions += benchmark_questions("nano_frames", frames) if frames else []
    return [Prompt(OURS.with_closer(q.text), q.images) for q in questions]


def groups(
    asked: Sequence[Prompt], sizes: Sequence[int], seed: int = 0, lengths: tuple[int, int] = (2, 24)
) -> list[TrainGroup]:
    """Random allowed responses with random advantages after each prompt."""
    rng = np.random.default_rng(seed)
    allowed = np.setdiff1d(np.arange(nano.VOCAB), renderer().forbidden_ids)
    made = []
    for i, (prompt, size) in enumerate(zip(asked, sizes, strict=True)):
        suffixes = []
        for _ in range(size):
            length = int(rng.integers(*lengths))
            ids = rng.choice(allowed, length).astype(np.int32)
            weight = np.full(length, rng.normal(), np.float32)
            mask = np.ones(length, dtype=bool)
            suffixes.append(Suffix(ids, mask, weight, np.zeros(length, np.float32)))
        made.append(TrainGroup(f"g{i}", "plain", renderer().encode(prompt), tuple(suffixes)))
    return made


def trainer(
    on: Any,
    mode: str = "auto",
    budget: int = 100_000,
    optimizer: OptimizerConfig = FREE,
    loss: LossConfig | None = None,
    checkpointing: bool = False,
    teacher: Any = None,
    objective: str = "surrogate",
) -> Trainer:
    settings = TrainerConfig(mode=mode, token_budget=budget, checkpointing=checkpointing)  # type: ignore[arg-type]
    r = renderer()
    return Trainer(
        on,
        r.forbidden_ids,
        r.pad_id,
        settings,
        optimizer,
        loss or LossConfig(),
        teacher=teacher,
        objective=objective,
    )


def gradient(of: Any) -> torch.Tensor:
    """All gradients as one vector, zeros where there is none."""
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in of.parameters()]
    )


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Length of the difference over the length of `b`."""
    return float((a - b).norm() / b.norm())
