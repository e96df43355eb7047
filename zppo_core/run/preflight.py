"""Checks before anything expensive: machine, checkpoints, store. Each fault is one line."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from zppo_core.algorithm import reformulations
from zppo_core.cluster.layout import workers_of
from zppo_core.config import GPU_SCALES, LAYOUTS, Config, load
from zppo_core.config.schema import method_of
from zppo_core.engines.base import find_kind
from zppo_core.errors import UserError
from zppo_core.extensions import is_outside
from zppo_core.models import nano
from zppo_core.models.memory import fault
from zppo_core.processes import killable
from zppo_core.prompts import Templates
from zppo_core.run.reach import check_reach
from zppo_core.run.spec import Run
from zppo_core.store.objects import S3Store

RENDER_SECONDS, RENDER_MB = 10.0, 512  # for all templates of a run, with a sample each
FP8_SINCE = 8.9  # compute capability; below, transformers widens FP8 weights to bfloat16
TRACKERS = {  # tracker -> what is imported, what pip calls it
    "trackio": ("trackio", "trackio"),
    "wandb": ("wandb", "wandb"),
    "tensorboard": ("torch.utils.tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow-skinny"),
}


def check(config: Config) -> None:
    """Raise UserError if `config` cannot run; imports no torch, so it takes milliseconds.

    What it needs of the machine is checked where it runs: `check_machine`.
    """
    for role, model in (("student", config.student.model), ("teacher", config.teacher.model)):
        check_checkpoint(role, model)
    check_own(config)
    check_store(config)


def check_own(config: Config) -> None:
    """A reward of one's own must import, and every prompt template render."""
    if config.data.prompts:
        check_render_cost(config)
    templates = Templates(config.data.prompts)
    templates.check()
    reformulations.check(method_of(config).reformulations, templates)
    if is_outside(config.compute.engine):
        find_kind(config.compute.engine)
    if config.data.reward:
        killable.resolve(config.data.reward)


def check_render_cost(config: Config) -> None:
    """UserError if the user's own templates take too long, or too much memory, for a sample.

    No other fault is looked for: a loop without end cannot be stopped in this process.
    """
    kinds = list(method_of(config).reformulations)
    job = [config.data.prompts, [kind for kind in kinds if not is_outside(kind)]]
    pool = killable.WorkerPool(f"{__name__}:render_samples", 1, RENDER_SECONDS, RENDER_MB)
    why = pool.map([job])[0].fault
    pool.close()
    if why == "timeout" or "MemoryError" in why or why.startswith("the worker died"):
        raise UserError(
            f"{config.data.prompts}: a template takes more than {RENDER_SECONDS:g} s or "
            f"{RENDER_MB} MB for a sample; mend its loop or the number in it"
        )


def render_samples(folder: str, kinds: list[str]) -> bool:
    """A worker's side of `check_render_cost`."""
    templates = Templates(folder)
    templates.check()
    reformulations.check(kinds, templates)
    return True


def check_machine(config: Config) -> None:
    """Raise UserError if this machine has not the packages, the GPUs, or enough memory on them,
    or if what the run names is not reached from it.
    """
    check_gpus(config)
    check_packages(config)
    sizes = gpu_memory()
    if config.compute.device == "cuda" and sizes and (why := fault(config, min(sizes), has_fp8())):
        raise UserError(f"scale {config.scale} does not fit: {why}")
    check_reach(config)


def check_packages(config: Config) -> None:
    """What is in the extra `gpu` must be here where the run needs it; nothing is imported."""
    c = config.compute
    needs = {}
    if c.engine == "vllm":
        needs["vllm"] = "compute.engine=vllm needs vLLM", "use --set compute.engine=hf"
    if workers_of(config) is not None:
        why = "an update in ranks (several processes, compute.offload or compute.ray)"
        for package, name in (("deepspeed", "DeepSpeed"), ("ray", "Ray")):
            needs[package] = f"{why} needs {name}", f"train in one process with {alone(config)}"
    if c.device == "cuda" and config.trainer.mode in ("auto", "packed"):
        needs["fla"] = (
            "on CUDA the delta layers need flash-linear-attention",
            ("accept a loop that is many times slower with --set trainer.mode=shared_prefix"),
        )
    teacher = config.teacher.model
    if c.device == "cuda" and loads_teacher(config) and is_fp8(teacher) and has_fp8():
        needs["kernels"] = (
            f"with the FP8 weights of teacher.model={teacher} transformers needs kernels",
            "set teacher.model to its bfloat16 checkpoint",
        )
    for name in config.run.trackers:
        package, distribution = TRACKERS[name]
        if importlib.util.find_spec(distribution.partition("-")[0]) is None:
            raise UserError(
                f"run.trackers={name} needs {package}; pip install {distribution}, or leave it out"
            )
    for package, (why, otherwise) in needs.items():
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{why}; pip install -e '.[gpu]', or {otherwise}")


def alone(config: Config) -> str:
    """The option by which a run with ranks takes one process."""
    c = config.compute
    sets = ["compute.update_processes=1"]
    sets += ["compute.offload=false"] if c.offload else []
    sets += ["compute.update_hosts=1", "compute.ray="] if c.ray else []
    text = ";".join(sets)
    return f'--set "{text}"' if len(sets) > 1 else f"--set {text}"


def loads_teacher(config: Config) -> bool:
    """Whether transformers loads the teacher: to distil from it, or as its engine."""
    method = method_of(config)
    if not method.uses_teacher or config.teacher.endpoint:
        return False
    return method.objective.teacher_weights or config.compute.engine == "hf"


def is_fp8(model: str) -> bool:
    """Whether a checkpoint is FP8: by its folder's config.json, or by its name on the hub."""
    path = Path(model).expanduser() / "config.json"
    if not path.is_file():
        return "fp8" in model.lower()
    try:
        settings = json.loads(path.read_text(encoding="utf-8")).get("quantization_config") or {}
    except (OSError, ValueError, AttributeError):
        return False  # who loads it says what is wrong
    return bool(settings.get("quant_method") == "fp8")


def gpu_memory() -> list[float]:
    """GiB of each CUDA device that the driver lists; empty without a driver."""
    return [number / 1024 for number in asked_of_gpus("memory.total")]


def has_fp8() -> bool:
    """Whether transformers computes in FP8 on every device here; as far as the driver says."""
    return all(number >= FP8_SINCE for number in asked_of_gpus("compute_cap"))


def asked_of_gpus(field: str) -> list[float]:
    """A number of each CUDA device that the driver lists; empty without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listing = subprocess.run(
        [tool, f"--query-gpu={field}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    numbers = [line.strip() for line in listing.stdout.splitlines()]
    return [float(n) for n in numbers if n.replace(".", "", 1).isdigit()]


def check_gpus(config: Config) -> None:
    """A scale that wants CUDA devices needs them here, or a remote task that has them."""
    if config.compute.device != "cuda":
        return
    needed = config.compute.student_gpus + config.compute.teacher_gpus
    count = count_gpus()
    if count < needed:
        raise UserError(
            f"scale {config.scale} needs {needed} GPUs per node and this machine has {count}; use "
            f"{smaller(config.scale, gpu_memory() or [80.0] * count)}, or run on a cluster with "
            "--with kubernetes"
        )


def smaller(scale: str, gpu_gib: Sequence[float]) -> str:
    """Which layouts of `scale` fit on GPUs of these sizes [GiB]; nano where none does."""
    base = scale.partition("@")[0]
    names = [f"{base}@{layout}" for layout in LAYOUTS] if base in GPU_SCALES else []
    for remote in ("", "teacher.endpoint=http://HOST:8000/v1"):  # a teacher elsewhere, if it must
        settings = [remote] if remote else []
        fit = [n for n in names if n != scale and not misfit(load(n, settings), gpu_gib)]
        if fit:
            return " or ".join(f"--scale {n}" for n in fit) + (remote and f" --set {remote}")
    return "--scale nano on a CPU"


def misfit(config: Config, gpu_gib: Sequence[float]) -> str:
    """Why a node with GPUs of these sizes [GiB] is too small for `config`; empty if it is not."""
    c = config.compute
    needed = c.student_gpus + c.teacher_gpus
    if len(gpu_gib) < needed:
        return f"needs {needed} GPUs, here are {len(gpu_gib)}"
    if c.update_hosts > 1:
        return f"needs {c.update_hosts} such hosts: compute.ray names their cluster"
    return fault(config, min(gpu_gib)) if gpu_gib else ""


def check_evaluation_device(config: Config) -> None:
    """A model that is to run on CUDA needs a device here, or a remote task that has one."""
    if config.compute.device == "cuda" and count_gpus() == 0:
        raise UserError(
            'this machine has no GPU; use --set "compute.device=cpu;compute.engine=hf", or run '
            "on a cluster with --with kubernetes"
        )


def count_gpus() -> int:
    """CUDA devices that the driver lists; 0 without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def check_checkpoint(role: str, model: str) -> None:
    """A local path must hold a Hugging Face folder; hub ids are left to the loader."""
    if not model:
        raise UserError(f"{role}.model is empty; set it with --set {role}.model=<folder or hub id>")
    if model.startswith("nano:"):
        nano.resolve(model)
        return
    looks_local = model.startswith((".", "/", "~")) or Path(model).exists()
    if looks_local and not (Path(model).expanduser() / "config.json").is_file():
        raise UserError(
            f"{role}.model={model} has no config.json; give a Hugging Face model folder or a hub id"
        )


def check_cluster(config: Config, training: bool = True) -> None:
    """Tasks of a cluster share no folder of a relative path: what outlives one lies elsewhere.

    The corpus is wanted for `training` alone.
    """
    places = {"store.root": config.store.root, "store.cache": config.store.cache}
    if training and config.data.source == "zppo77k":
        places["data.corpus"] = config.data.corpus
    for field, place in places.items():
        if place and not place.startswith(("s3://", "/")):
            raise UserError(
                f"tasks on a cluster do not share the folder {place} of {field}; use --set {field}="
                "s3://bucket/prefix, or the absolute path of a volume that all of them mount"
            )


def check_stores(run: Run) -> None:
    """Stores on S3 must take what is written and turn a second writer away; see `S3Store.probe`."""
    for store in {run.store_url: run.store, run.cache_url: run.cache}.values():
        if isinstance(store, S3Store):
            store.probe()


def check_store(config: Config) -> None:
    """Local stores and the database's folder must be writable."""
    folders = {
        "store.root": config.store.root,
        "store.cache": config.store.cache,
        "store.database": os.path.dirname(config.store.database) or ".",
    }
    for field, path in folders.items():
        if not path or path.startswith("s3://"):
            continue
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
            probe = Path(path) / f".writable-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {path} ({error.strerror}); free it or set --set {field}=<path>"
            ) from None
