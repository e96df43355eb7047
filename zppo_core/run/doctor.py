"""`zppo doctor`: what this machine can run, what is missing, and the line that installs it."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zppo_core.config import CPU_SCALES, GPU_SCALES, LAYOUTS, load
from zppo_core.processes.command_line import command, reported
from zppo_core.processes.machine import machine
from zppo_core.run.preflight import gpu_memory, misfit

GPU_EXTRA = "pip install -e '.[gpu]'"
# package -> (what needs it, the line that installs it)
OPTIONAL = {
    "vllm": ("sampling on GPUs", GPU_EXTRA),
    "deepspeed": ("updates by several processes", GPU_EXTRA),
    "ray": ("updates by several processes", GPU_EXTRA),
    "fla": ("fast delta layers on GPUs", GPU_EXTRA),
    "kernels": ("distillation from an FP8 teacher", GPU_EXTRA),
    "tensorboard": ("run.trackers=tensorboard", "pip install tensorboard"),
    "trackio": ("run.trackers=trackio", "pip install trackio"),
    "wandb": ("run.trackers=wandb", "pip install wandb"),
    "mlflow": ("run.trackers=mlflow", "pip install mlflow-skinny"),
}


@dataclass(frozen=True)
class Fit:
    """A scale and layout on this machine; `why` is empty if it fits."""

    scale: str
    gpus: int  # of one node
    why: str


@dataclass(frozen=True)
class Missing:
    """A package that is not installed: for what, and the line that installs it."""

    package: str
    needed_for: str
    install: str


@dataclass(frozen=True)
class Diagnosis:
    """What this machine has; sizes in GiB."""

    python: str
    torch: str  # version, empty if it is not installed
    machine: str
    gpu_gib: tuple[float, ...]
    disk_free_gib: float
    store: str
    fits: tuple[Fit, ...]
    missing: tuple[Missing, ...]


def diagnose(root: str = "runs") -> Diagnosis:
    """Look at Python, packages, GPUs and the disk under `root`; nothing is loaded or written."""
    sizes = tuple(gpu_memory())
    absent = tuple(
        Missing(package, *facts)
        for package, facts in OPTIONAL.items()
        if importlib.util.find_spec(package) is None
    )
    return Diagnosis(
        platform.python_version(),
        _version("torch"),
        machine(),
        sizes,
        disk_free(root),
        root,
        tuple(fits(sizes)),
        absent,
    )


def fits(gpu_gib: Sequence[float]) -> list[Fit]:
    """Every scale, with each layout that is for GPUs, on a node with GPUs of these sizes [GiB]."""
    rows = [Fit(scale, 0, "") for scale in CPU_SCALES]
    for scale in GPU_SCALES:
        for name in (scale, *(f"{scale}@{layout}" for layout in LAYOUTS)):
            config = load(name)
            needed = config.compute.student_gpus + config.compute.teacher_gpus
            rows.append(Fit(name, needed, misfit(config, gpu_gib)))
    return rows


def disk_free(root: str) -> float:
    """GiB free where `root` lies or will lie; infinite on S3."""
    if "://" in root:
        return float("inf")
    place = Path(root).absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free / 2**30


def text(diagnosis: Diagnosis) -> str:
    """The diagnosis for people."""
    gpus = ", ".join(f"{gib:.0f} GiB" for gib in diagnosis.gpu_gib) or "none"
    lines = [
        f"Python   {diagnosis.python}",
        f"torch    {diagnosis.torch or 'not installed: pip install -e .'}",
        f"machine  {diagnosis.machine}",
        f"GPUs     {gpus}",
        f"disk     {diagnosis.disk_free_gib:.0f} GiB free for {diagnosis.store}",
        "",
        "scale            GPUs  on this machine",
    ]
    lines += [f"{f.scale:<16} {f.gpus:>4}  {f.why or 'fits'}" for f in diagnosis.fits]
    if diagnosis.missing:
        lines += ["", "not installed; none of it is needed on a CPU"]
        width = max(len(m.package) for m in diagnosis.missing)
        lines += [f"{m.package:<{width}}  {m.needed_for}: {m.install}" for m in diagnosis.missing]
    return "\n".join(lines)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo doctor`; 0."""
    reader = command("doctor", __doc__ or "", "zppo doctor --json")
    reader.add_argument("--store", default="runs", metavar="URL", help="store.root of the runs")
    reader.add_argument("--json", action="store_true", help="print one JSON object")
    options = reader.parse_args(arguments)
    diagnosis = diagnose(options.store)
    if options.json:
        content = asdict(diagnosis)
        if diagnosis.disk_free_gib == float("inf"):
            content["disk_free_gib"] = None
        print(json.dumps(content))
    else:
        print(text(diagnosis))
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
