"""vLLM's engines by the configuration: how many, on which GPUs, with what lengths and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zppo_core import models
from zppo_core.config import Config
from zppo_core.engines import vllm
from zppo_core.engines.base import EngineKind, is_address
from zppo_core.engines.pool import EnginePool
from zppo_core.models.memory import (
    ALONE,
    GIB,
    engine_share,
    local_teachers,
    longest,
    sequences,
    shapes,
)
from zppo_core.protocols import Engine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from zppo_core.models.renderer import Renderer


class VllmKind(EngineKind):
    """One engine a student GPU; the teacher's split over its own GPUs, or beside the student."""

    def student(
        self,
        config: Config,
        model: PreTrainedModel | None,
        renderer: Renderer,
        evaluating: bool = False,
    ) -> Engine:
        name = config.student.model
        settings = vllm_settings(config, config.compute.engine_memory, name)
        if evaluating:
            settings |= evaluation_settings(config, name)
        if config.compute.student_gpus < 2:
            return vllm.VllmEngine(name, renderer, "student", **settings)
        return EnginePool(
            [
                vllm.VllmEngine(
                    name, renderer, "student", transport="file", devices=str(gpu), **settings
                )
                for gpu in range(config.compute.student_gpus)
            ]
        )

    def teacher(
        self,
        config: Config,
        name: str,
        model: PreTrainedModel | None,
        renderer: Renderer,
        evaluating: bool = False,
    ) -> Engine:
        first, gpus = config.compute.student_gpus, config.compute.teacher_gpus
        # on GPUs of its own if it has any, else beside the student
        ids = [str(gpu) for gpu in range(first, first + gpus)]
        width = config.compute.teacher_tensor_parallel or max(gpus, 1)
        # in training all teachers are on these GPUs at once, an engine each
        count = 1 if evaluating else len(local_teachers(config))
        settings = vllm_settings(config, engine_share(config, count), name, width)
        if evaluating:
            context = min(config.evaluation.context, models.context(name))
            settings |= {"max_model_len": context}
        engines: list[Engine] = []
        for i in range(0, max(gpus, 1), width):
            first_name = (
                engines[0].name if engines else ""
            )  # the weights are read for their name once
            engines.append(
                vllm.VllmEngine(
                    name,
                    renderer,
                    first_name,
                    transport="file",
                    devices=",".join(ids[i : i + width]),
                    tensor_parallel_size=width,
                    **settings,
                )
            )
        return engines[0] if len(engines) == 1 else EnginePool(engines)


KIND = VllmKind()


def evaluation_settings(config: Config, name: str) -> dict[str, Any]:
    """What an engine for benchmarks has otherwise: a longer context, and no trainer beside it."""
    settings: dict[str, Any] = {
        "max_model_len": min(config.evaluation.context, models.context(name))
    }
    judge = config.evaluation.judge or config.teacher.endpoint
    apart = config.compute.teacher_gpus > 0 or judge == "none" or is_address(judge)
    if config.compute.device != "cpu" and apart:
        settings["gpu_memory_utilization"] = ALONE
    return settings


def vllm_settings(
    config: Config, memory: float, name: str, width: int = 1, gpu_gib: float | None = None
) -> dict[str, Any]:
    """Lengths and memory for `vllm.LLM` of the model `name`, whose engine sleeps between phases.

    On a GPU of `gpu_gib` (default: this machine's first) it has a share of `memory`. A model whose
    shape is known may have so many sequences at once as its cache has room for.
    """
    settings: dict[str, Any] = {"max_model_len": longest(config)}
    if config.compute.device == "cpu":
        return settings
    settings |= {"gpu_memory_utilization": memory, "enable_sleep_mode": True}
    gib, shape = gpu_gib or first_gpu_gib(), shapes().get(name)
    if gib and shape is not None:
        settings["max_num_seqs"] = sequences(shape, memory * gib, width)
    return settings


def first_gpu_gib() -> float:
    """GiB of this process's first GPU; 0 without one."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.get_device_properties(0).total_memory) / GIB
