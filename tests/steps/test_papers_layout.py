"""The paper's 64 GPUs: what the layout eight-nodes does as the paper does."""

from typing import Any, ClassVar

import pytest

from zppo_core import models
from zppo_core.config import load
from zppo_core.engines import factory as engines
from zppo_core.engines.base import BaseEngine
from zppo_core.engines.pool import EnginePool
from zppo_core.errors import UserError
from zppo_core.models import memory

SETS = ["student.model=nano:student", "teacher.model=nano:teacher"]


class Recorded(BaseEngine):
    """Stands for VllmEngine: keeps what it was made with."""

    made: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def __init__(
        self, model: str, renderer: Any, name: str = "", version: int = 0, **settings: Any
    ) -> None:
        self.name, self.version = name or f"weights of {model}", version
        Recorded.made.append((name, settings))

    def generate(self, *_: object) -> Any:
        """These tests only open engines."""
        raise AssertionError("nothing is to be asked")


@pytest.mark.parametrize("scale", ["0.8B", "2B", "4B", "9B"])
def test_the_paper_s_layout_has_the_paper_s_teacher(scale: str) -> None:
    config = load(f"{scale}@eight-nodes")
    c = config.compute
    assert (c.update_hosts, c.student_gpus, c.teacher_gpus) == (8, 6, 2)
    assert config.teacher.scope == "hard"  # all of X_hard, as in section 2
    assert c.teacher_tensor_parallel == 1
    assert memory.fault(config, 80.0) == ""


def teacher_of(monkeypatch, *sets: str) -> Any:
    monkeypatch.setattr("zppo_core.engines.vllm.VllmEngine", Recorded)
    Recorded.made = []
    renderer = models.load_renderer("nano:student", 0, True)
    return engines.teachers(load("4B", [*SETS, *sets]), renderer)[0].engine


def test_a_teacher_of_tensor_parallel_1_has_an_engine_on_each_of_its_gpus(monkeypatch) -> None:
    pool = teacher_of(monkeypatch, "compute.teacher_tensor_parallel=1")
    assert isinstance(pool, EnginePool)
    placed = [(s["devices"], s["tensor_parallel_size"]) for _, s in Recorded.made]
    assert placed == [("6", 1), ("7", 1)]
    # 27 GB are read for their name once: the second engine is told it
    assert [name for name, _ in Recorded.made] == ["", "weights of nano:teacher"]
    teacher_of(monkeypatch, "compute.teacher_gpus=4", "compute.teacher_tensor_parallel=2")
    assert [s["devices"] for _, s in Recorded.made] == ["6,7", "8,9"]


def test_by_default_the_teacher_is_split_over_its_gpus(monkeypatch) -> None:
    one = teacher_of(monkeypatch)
    assert isinstance(one, Recorded)
    assert [(s["devices"], s["tensor_parallel_size"]) for _, s in Recorded.made] == [("6,7", 2)]


def test_tensor_parallel_divides_the_teacher_s_gpus() -> None:
    with pytest.raises(UserError, match=r"must divide compute\.teacher_gpus"):
        load("4B", ["compute.teacher_tensor_parallel=3"])
    with pytest.raises(UserError, match="teacher_tensor_parallel must be in"):
        load("4B", ["compute.teacher_tensor_parallel=-1"])


def test_memory_knows_how_the_teacher_is_split() -> None:
    whole, split = (
        memory.estimate(load("4B", [f"compute.teacher_tensor_parallel={n}"])) for n in (1, 2)
    )
    assert whole is not None
    assert split is not None
    assert whole.teacher[0].gib == pytest.approx(2 * split.teacher[0].gib)
    sets = ["compute.teacher_tensor_parallel=1", "compute.engine_memory=0.5"]
    said = memory.fault(load("4B", sets), 24.0)
    assert "raise compute.teacher_tensor_parallel" in said


def test_memory_knows_the_size_of_the_moments() -> None:
    usual, low = (
        memory.estimate(load("4B", [f"optimizer.moments={m}"])) for m in ("float32", "bfloat16")
    )
    assert usual is not None
    assert low is not None
    sizes = [next(n.gib for n in e.update if n.what == "optimizer") for e in (usual, low)]
    assert sizes[1] == pytest.approx(sizes[0] * 8 / 12)
