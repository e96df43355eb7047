"""The check for GPUs does its work: here on a CPU with a tiny shape, in both precisions."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zppo_core.models import memory

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
# what a bare GPU machine does not have (docs/trainer.md)
MISSING = (
    "sklearn",
    "metaflow",
    "duckdb",
    "boto3",
    "botocore",
    "deepspeed",
    "vllm",
    "datasets",
    "lm_eval",
    "math_verify",
    "altair",
    "fla",
    "dill",
)
TINY = ["--device", "cpu", "--shapes", "tiny", "--budget", "512"]

# they look absent, as to a library that asks before it imports
BLOCKER = """
from importlib.machinery import PathFinder
real = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {missing!r} else real(name, path, target)
PathFinder.find_spec = staticmethod(find_spec)
"""


@pytest.fixture
def gpu_check(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_check")


@pytest.fixture
def gpu_update(gpu_check):
    return importlib.import_module("gpu_update")


def run(gpu_check, folder, *arguments):
    status = gpu_check.main([*TINY, "--out", str(folder), *arguments])
    return status, json.loads((folder / "gpu_check.jsonl").read_text())


def test_a_bare_machine_runs_every_section_in_bfloat16(tmp_path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(missing=set(MISSING)))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [
            sys.executable,
            str(BENCHMARKS / "gpu_check.py"),
            *TINY,
            "--dtype",
            "bfloat16",
            "--out",
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    result = json.loads((tmp_path / "out" / "gpu_check.jsonl").read_text())
    wanted = {
        "ceilings",
        "delta",
        "attention",
        "head",
        "small",
        "update",
        "pictures",
        "kernels",
        "decode",
    }
    assert wanted <= result["tables"].keys()
    assert (tmp_path / "out" / "gpu_check.md").read_text().count("\n## ") == len(result["tables"])
    assert "aten::" in (tmp_path / "out" / "kernels.txt").read_text()


def test_ways_of_running_passes_agree_and_say_where_their_time_goes(gpu_check, tmp_path) -> None:
    status, result = run(gpu_check, tmp_path, "--sections", "update,pictures")
    assert status == 0
    rows = result["tables"]["update"]
    assert [row["mode"] for row in rows][:2] == ["padded", "shared_prefix"]
    assert all(row["mean |dlogp|"] < 1e-4 and row["cosine"] > 0.9999 for row in rows[1:])
    for row in rows:
        parts = {k: v for k, v in row.items() if k.endswith(" s") and k != "s"}
        assert {"delta layers s", "attention s", "feed-forward s", "head s", "optimizer s"} <= set(
            parts
        )
        assert all(v > 0 for v in parts.values())
    assert [row["pictures"] for row in result["tables"]["pictures"]] == [1, 4]
    assert all(row["vision s"] > 0 for row in result["tables"]["pictures"])


def test_a_wrong_log_probability_fails_the_check(
    gpu_check, gpu_update, monkeypatch, tmp_path
) -> None:
    real = gpu_update.Trainer.score

    def off(trainer, groups):
        gap = 0.2 if trainer.mode == "padded" else 0.0
        return [tuple(s + gap for s in g) for g in real(trainer, groups)]

    monkeypatch.setattr(gpu_update.Trainer, "score", off)
    status, result = run(gpu_check, tmp_path, "--sections", "update")
    assert status == 1
    assert not result["tables"]["update"][1]["holds"]


def test_a_wrong_kernel_fails_the_check_and_a_broken_one_leaves_its_error(
    gpu_check, monkeypatch, tmp_path
) -> None:
    kernels = gpu_check.gpu_kernels
    right = kernels.joined_attention
    monkeypatch.setattr(kernels, "joined_attention", lambda *a: 1.1 * right(*a))
    status, result = run(gpu_check, tmp_path, "--sections", "attention")
    assert status == 1

    def broken(*_):
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr(kernels, "joined_attention", broken)
    status, result = run(gpu_check, tmp_path, "--sections", "attention,head")
    assert status == 1
    assert result["tables"]["attention"][1]["error"] == "RuntimeError: no such kernel"
    assert result["tables"]["head"]


def test_what_the_time_does_not_allow_is_named(gpu_check, tmp_path) -> None:
    _, result = run(gpu_check, tmp_path, "--sections", "ceilings,head", "--minutes", "-1")
    assert not result["tables"]
    assert [n for n in result["notes"] if "not run" in n] == [
        "section ceilings was not run: out of time",
        "section head was not run: out of time",
    ]


@pytest.mark.parametrize(
    ("name", "rank", "fits"), [("0.8B", 0, 80), ("2B", 0, 80), ("4B", 0, 140), ("4B", 16, 40)]
)
def test_what_an_update_needs_is_told_beforehand(gpu_update, name, rank, fits) -> None:
    full = memory.Passes(16_384, 0 if rank else 16_384)
    assert gpu_update.needed_gib(name, full, rank) < fits
    assert gpu_update.needed_gib("9B", full) > 140


def test_more_memory_than_estimated_fails_the_check(gpu_update) -> None:
    row = {"peak GiB": 31.0, "estimate GiB": 32.0}
    assert gpu_update.holds(row)
    assert not gpu_update.holds({**row, "peak GiB": 33.0})


@pytest.mark.parametrize("name", ["0.8B", "2B", "4B", "9B"])
def test_the_vision_towers_are_of_the_true_size(gpu_check, name) -> None:
    models = importlib.import_module("gpu_models")
    with torch.device("meta"):
        tower = models.build(name, "meta", torch.bfloat16).model.visual
    assert sum(p.numel() for p in tower.parameters()) == pytest.approx(
        models.shape_of(name).vision_params, rel=0.04
    )


def test_gradients_are_read_where_low_precision_weights_hand_them_over(gpu_check) -> None:
    models, update = importlib.import_module("gpu_models"), importlib.import_module("bench_update")
    asked = [*TINY, "--dtype", "bfloat16", "--out", "nowhere"]
    check = gpu_check.Check(gpu_check.parser().parse_args(asked))
    student = gpu_check.Student(check, "tiny")
    student.pass_over(models.groups_of(20, 8, 1, 2))
    parameters = sum(p.numel() for p in student.trainer.masters.parameters.values())
    assert update.gradient(student.trainer).numel() == parameters
    assert update.gradient(student.trainer).norm() > 0
    assert update.sampled_gradients(student.trainer)


@pytest.mark.parametrize(("asked", "again"), [([], True), (["--no-checkpointing"], False)])
def test_passes_are_recomputed_unless_the_check_is_asked_not_to(gpu_check, asked, again) -> None:
    check = gpu_check.Check(gpu_check.parser().parse_args([*TINY, "--out", "nowhere", *asked]))
    student = gpu_check.Student(check, "tiny")
    assert student.use("shared_prefix")
    assert student.trainer.forward.text.checkpointing is again


class Kernel:
    """Of Triton's autotuner what the search touches."""

    def __init__(self, *configs: str) -> None:
        self.configs, self.cache, self.ran = configs, {}, []
        self.arg_names, self.keys, self.base_fn = ["x", "size"], ["size"], self.bench
        self.fn = self

    def bench(self) -> None: ...

    def prune_configs(self, _):
        return self.configs


def plain(kernel, x, size):
    """Triton's own way: the last configuration is the fastest."""
    kernel.cache.setdefault((size,), kernel.configs[-1])
    kernel.ran.append(kernel.cache[(size,)])


def test_a_search_keeps_its_choices_and_a_later_one_takes_them(monkeypatch, tmp_path) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    tuning = importlib.import_module("gpu_tuning")
    compiled = []
    monkeypatch.setattr(tuning, "compile_all", lambda kernel, *_: compiled.append(kernel))
    first, kernel = tuning.Search(), Kernel("4 warps", "8 warps")
    for _ in range(2):
        first.run(kernel, plain, (0, 64), {})
    assert (first.searched, len(compiled), kernel.ran) == (1, 1, ["8 warps", "8 warps"])
    first.write(tmp_path / "tuned.json")
    kept = json.loads((tmp_path / "tuned.json").read_text())
    assert list(kept.values()) == ["8 warps"]

    kept = dict.fromkeys(kept, "4 warps")
    (tmp_path / "tuned.json").write_text(json.dumps(kept))
    later, kernel = tuning.Search(tmp_path / "tuned.json"), Kernel("4 warps", "8 warps")
    later.run(kernel, plain, (0, 64), {})
    later.run(kernel, plain, (0, 128), {})  # another key is searched for
    assert (later.searched, kernel.ran) == (1, ["4 warps", "8 warps"])


def test_a_search_that_cannot_compile_at_once_says_so_and_goes_on(monkeypatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    tuning = importlib.import_module("gpu_tuning")

    def broken(*_):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(tuning, "compile_all", broken)
    search, kernel = tuning.Search(), Kernel("4 warps", "8 warps")
    search.run(kernel, plain, (0, 64), {})
    assert kernel.ran == ["8 warps"]
    assert "RuntimeError: no compiler" in search.report()
