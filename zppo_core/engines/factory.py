"""Engines by the configuration: of the kind that it names, or a teacher behind an address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zppo_core import models
from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.engines.base import find_kind, kind_of
from zppo_core.engines.openai import OpenAIEngine
from zppo_core.protocols import Engine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from zppo_core.models.renderer import Renderer


@dataclass(frozen=True)
class Teacher:
    """A teacher at work; `model` is there where its weights are in this process."""

    engine: Engine
    renderer: Renderer | None  # None behind an endpoint
    model: PreTrainedModel | None
    parameters: int  # 0 where they are not known


def student_engine(config: Config, model: PreTrainedModel | None, renderer: Renderer) -> Engine:
    """The engine of rollouts; `model` is the trainer's own."""
    return kind_of(config).student(config, model, renderer)


def evaluation_engine(config: Config, model: PreTrainedModel | None = None) -> Engine:
    """The student's engine for benchmarks: the base's weights, or those of `model`."""
    kind = kind_of(config)
    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    if kind.in_process:
        import torch

        dtype = getattr(torch, config.student.dtype)
        if model is None:
            model, renderer = models.load(config.student.model, dtype, config.compute.device)
        return kind.student(config, model, renderer, evaluating=True)
    engine = kind.student(config, None, renderer, evaluating=True)
    if model is not None:
        engine.load_weights(dict(model.named_parameters()), 1)  # tied weights once
    return engine


def teacher_engine(config: Config, judge: str = "") -> Engine:
    """The first teacher's engine alone, for benchmarks and as a judge; or `judge` in its place."""
    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    if judge:  # a folder or hub id, which no endpoint of the teacher serves
        config = replace(config, teacher=replace(config.teacher, model=judge, endpoint=""))
    return _teacher(config, config.teacher.model, renderer, False, evaluating=True).engine


def teachers(
    config: Config, student_renderer: Renderer, judging: bool = False, near: bool = False
) -> list[Teacher]:
    """The teachers of the run's method, in order; none if it has no use for one.

    `judging`: the corpus has free-form gold answers, so that every method needs the first. `near`:
    this process needs their weights, whatever engine samples.
    """
    method = method_of(config)
    if not method.uses_teacher:
        return [_teacher(config, config.teacher.model, student_renderer, False)] if judging else []
    names = [config.teacher.model, *config.teacher.more_models]
    return [_teacher(config, name, student_renderer, near) for name in names]


def _teacher(
    config: Config, name: str, student_renderer: Renderer, near: bool, evaluating: bool = False
) -> Teacher:
    if config.teacher.endpoint:
        remote = OpenAIEngine(
            config.teacher.endpoint,
            name,
            config.teacher.api_key_env,
            config.teacher.concurrency,
            encode=student_renderer.encode_text,
        )
        remote.check()
        return Teacher(remote, None, None, 0)
    kind = kind_of(config)
    if kind.in_process or near:
        import torch

        dtype = getattr(torch, config.student.dtype)
        model, renderer = models.load(name, dtype, config.compute.device)
        here = kind if kind.in_process else find_kind("hf")
        engine = here.teacher(config, name, model, renderer, evaluating)
        return Teacher(engine, renderer, model, int(model.num_parameters()))
    count, vocab, images = models.shape(name)
    renderer = models.load_renderer(name, vocab, images)
    return Teacher(kind.teacher(config, name, None, renderer, evaluating), renderer, None, count)
