"""Engines by the configuration: transformers, vLLM on this machine, a teacher behind an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zppo_core.config import Config
from zppo_core.config.methods import METHODS
from zppo_core.protocols import Engine

ROOM = 512  # tokens of templates and tags around a prompt's parts
ALONE = 0.9  # share of a GPU that an engine takes which has it to itself


@dataclass(frozen=True)
class Teacher:
    """A teacher at work; `model` is there where its weights are in this process."""

    engine: Engine
    renderer: Any  # None behind an endpoint
    model: Any
    parameters: int  # 0 where they are not known


def student_engine(
    config: Config, model: Any, renderer: Any, replaced: Mapping[str, Any] | None = None
) -> Engine:
    """The engine of rollouts: the trainer's own model, or vLLM, one engine a student GPU.

    `replaced` are settings of vLLM's in place of those that training needs.
    """
    from zppo_core.engines.hf import HfEngine

    if config.compute.engine == "hf":
        return HfEngine(model, renderer, "student")
    from zppo_core.engines.pool import EnginePool
    from zppo_core.engines.vllm import VllmEngine

    settings = vllm_settings(config, config.compute.engine_memory) | dict(replaced or {})
    if config.compute.student_gpus < 2:
        return VllmEngine(config.student.model, renderer, "student", **settings)
    return EnginePool(
        [
            VllmEngine(
                config.student.model,
                renderer,
                "student",
                transport="file",
                devices=str(gpu),
                **settings,
            )
            for gpu in range(config.compute.student_gpus)
        ]
    )


def evaluation_engine(config: Config, model: Any = None) -> Engine:
    """The student's engine for benchmarks: the base's weights, or those of `model`."""
    from zppo_core import models

    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    if config.compute.engine == "hf":
        import torch

        from zppo_core.engines.hf import HfEngine

        dtype = getattr(torch, config.student.dtype)
        if model is None:
            model, renderer = models.load(config.student.model, dtype, config.compute.device)
        return HfEngine(model, renderer, "student")
    replaced = evaluation_settings(config, config.student.model)
    engine = student_engine(config, None, renderer, replaced)
    if model is not None:
        engine.load_weights(dict(model.named_parameters()), 1)  # tied weights once
    return engine


def teacher_engine(config: Config, judge: str = "") -> Engine:
    """The first teacher's engine alone, for benchmarks and as a judge; or `judge` in its place."""
    from zppo_core import models

    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    if judge:  # a folder or hub id, which no endpoint of the teacher serves
        config = replace(config, teacher=replace(config.teacher, model=judge, endpoint=""))
    return _teacher(config, config.teacher.model, renderer, False, evaluating=True).engine


def teachers(
    config: Config, student_renderer: Any, judging: bool = False, near: bool = False
) -> list[Teacher]:
    """The teachers of the run's method, in order; none if it has no use for one.

    `judging`: the corpus has free-form gold answers, so that every method needs the first. `near`:
    this process needs their weights, whatever engine samples.
    """
    method = METHODS[config.run.method]
    if not method.uses_teacher:
        return [_teacher(config, config.teacher.model, student_renderer, False)] if judging else []
    names = [config.teacher.model, *config.teacher.more_models]
    return [_teacher(config, name, student_renderer, near) for name in names]


def _teacher(
    config: Config, name: str, student_renderer: Any, near: bool, evaluating: bool = False
) -> Teacher:
    import torch

    from zppo_core import models

    if config.teacher.endpoint:
        from zppo_core.engines.openai import OpenAIEngine

        remote = OpenAIEngine(
            config.teacher.endpoint,
            name,
            config.teacher.api_key_env,
            config.teacher.concurrency,
            encode=student_renderer.encode_text,
        )
        remote.check()
        return Teacher(remote, None, None, 0)
    if config.compute.engine == "hf" or near:
        from zppo_core.engines.hf import HfEngine

        dtype = getattr(torch, config.student.dtype)
        model, renderer = models.load(name, dtype, config.compute.device)
        near_by = HfEngine(model, renderer, models.weights_name(model))
        return Teacher(near_by, renderer, model, int(model.num_parameters()))
    from zppo_core.engines.vllm import VllmEngine

    count, vocab, images = models.shape(name)
    renderer = models.load_renderer(name, vocab, images)
    first, gpus = config.compute.student_gpus, config.compute.teacher_gpus
    # on GPUs of its own if it has any, else beside the student
    own = [str(gpu) for gpu in range(first, first + gpus)]
    settings = vllm_settings(config, ALONE if gpus else config.compute.engine_memory)
    if evaluating:
        settings |= {"max_model_len": min(config.evaluation.context, models.context(name))}
    width = config.compute.teacher_tensor_parallel or max(gpus, 1)
    engines: list[VllmEngine] = []
    for i in range(0, max(gpus, 1), width):
        known = engines[0].name if engines else ""  # the weights are read for their name once
        engines.append(
            VllmEngine(
                name,
                renderer,
                known,
                transport="file",
                devices=",".join(own[i : i + width]),
                tensor_parallel_size=width,
                **settings,
            )
        )
    if len(engines) == 1:
        return Teacher(engines[0], renderer, None, count)
    from zppo_core.engines.pool import EnginePool

    return Teacher(EnginePool(engines), renderer, None, count)


def evaluation_settings(config: Config, name: str) -> dict[str, Any]:
    """What an engine for benchmarks has otherwise: a longer context, and no trainer beside it."""
    from zppo_core import models

    settings: dict[str, Any] = {
        "max_model_len": min(config.evaluation.context, models.context(name))
    }
    judge = config.evaluation.judge or config.teacher.endpoint
    apart = config.compute.teacher_gpus > 0 or judge == "none" or is_address(judge)
    if config.compute.device != "cpu" and apart:
        settings["gpu_memory_utilization"] = ALONE
    return settings


def is_address(model: str) -> bool:
    """Whether a model is named by the address of an endpoint."""
    return model.startswith(("http://", "https://"))


def vllm_settings(config: Config, memory: float) -> dict[str, Any]:
    """Lengths and memory for `vllm.LLM`; on GPUs the engine can sleep between phases."""
    # all of a group may be wrong: their candidates, and their answers once more (section 5)
    candidates = 2 * config.rollout.group_size * config.reformulation.candidate_tokens
    settings: dict[str, Any] = {
        "max_model_len": config.data.max_prompt_tokens
        + candidates
        + ROOM
        + config.rollout.max_tokens,
    }
    if config.compute.device == "cpu":
        return settings
    return settings | {"gpu_memory_utilization": memory, "enable_sleep_mode": True}
