"""What vLLM is started with on GPUs, seen by a stand-in for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from vllm_stand_in import SeenError, stand_in

from zppo_core import models
from zppo_core.config import load
from zppo_core.engines.factory import teachers
from zppo_core.engines.vllm import VllmEngine, defaults


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of `vllm.LLM`, of a build for CUDA."""
    given: dict[str, Any] = {}

    def start(**settings: Any) -> None:
        given.update(settings)
        raise SeenError

    stand_in(monkeypatch, start, on_cpu=False)
    return given


@pytest.mark.parametrize(("gpus", "backend"), [(1, None), (2, "mp")])
def test_a_teacher_on_several_gpus_of_an_actor_has_processes_of_its_own(
    seen, gpus: int, backend: str | None
) -> None:
    """Ray's actors, which vLLM would take there by itself, refuse a bundle of several GPUs."""
    sets = ["student.model=nano:student", "teacher.model=nano:teacher"]
    # as an actor of a teacher's place is told
    place = ["compute.student_gpus=0", f"compute.teacher_gpus={gpus}"]
    renderer = models.load_renderer("nano:student", 0, True)
    with pytest.raises(SeenError):
        teachers(load("4B", [*sets, *place]), renderer)
    assert seen["tensor_parallel_size"] == gpus
    assert seen.get("distributed_executor_backend") == backend


def test_on_gpus_the_delta_layers_prefill_needs_no_nvcc(seen, monkeypatch) -> None:
    monkeypatch.setattr("zppo_core.engines.vllm.weights_identity", lambda folder: "name")
    with pytest.raises(SeenError):
        VllmEngine("/no/model", SimpleNamespace())  # type: ignore[arg-type]
    assert seen["gdn_prefill_backend"] == "triton"
    with pytest.raises(SeenError):
        VllmEngine("/no/model", SimpleNamespace(), gdn_prefill_backend="flashinfer")  # type: ignore[arg-type]
    assert seen["gdn_prefill_backend"] == "flashinfer"
    assert "gdn_prefill_backend" not in defaults(on_cpu=True)
