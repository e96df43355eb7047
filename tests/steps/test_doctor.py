"""`zppo doctor` says what fits this machine and what to install, without loading anything."""

import importlib.util
import json

import pytest

from zppo_core.config import CPU_SCALES, GPU_SCALES, LAYOUTS
from zppo_core.run import doctor


def names(gpu_gib: list[float]) -> set[str]:
    return {fit.scale for fit in doctor.fits(gpu_gib) if not fit.why}


def test_a_machine_without_gpus_runs_the_cpu_scales_alone() -> None:
    assert names([]) == set(CPU_SCALES)
    assert len(doctor.fits([])) == len(CPU_SCALES) + len(GPU_SCALES) * (1 + len(LAYOUTS))


def test_what_fits_follows_the_gpus_number_and_memory() -> None:
    one, small, node = names([80.0]), names([24.0]), names([80.0] * 8)
    assert "4B@one-gpu" in one
    assert "4B" not in one
    assert "9B@one-gpu" not in one  # its teacher needs an endpoint beside it
    assert small < one
    assert {"0.8B", "4B", "9B@eight-gpus"} <= node
    assert not any(name.endswith("eight-nodes") for name in node)


def test_a_missing_package_comes_with_the_line_that_installs_it(monkeypatch, capsys) -> None:
    monkeypatch.setattr(doctor, "gpu_memory", lambda: [24.0])
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "vllm" else object()
    )
    assert doctor.main([]) == 0
    said = capsys.readouterr().out
    assert "vllm  sampling on GPUs: pip install -e '.[gpu]'" in said
    assert "wandb" not in said
    assert doctor.main(["--json", "--store", "s3://bucket/runs"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gpu_gib"] == [24.0]
    assert found["disk_free_gib"] is None
    assert [m["package"] for m in found["missing"]] == ["vllm"]


def test_the_disk_is_that_of_a_folder_that_is_not_there_yet(tmp_path) -> None:
    assert doctor.disk_free(str(tmp_path / "a" / "b")) == pytest.approx(
        doctor.disk_free(str(tmp_path)), rel=0.1
    )
