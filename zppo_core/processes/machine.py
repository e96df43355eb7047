"""What ran and where, in words: for a run's own row and for the lines of benchmarks."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version() -> str:
    """The package's version, and the commit if it runs from a checkout."""
    here = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=False,
        )
        commit = asked.stdout.strip() if asked.returncode == 0 else ""
    except OSError:  # no git here, as in slim images
        commit = ""
    try:
        release = version("zppo")
    except PackageNotFoundError:  # a remote task has the code, not the distribution
        release = "zppo"
    return f"{release}+{commit}" if commit else release


def machine() -> str:
    """Processor, cores, memory and accelerators in words."""
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        models = [
            line.partition(":")[2].strip()
            for line in text.splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    except OSError:
        pass  # not Linux: the name above has to do
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    text = f"{os.cpu_count()} cores ({name}), {memory:.0f} GiB"
    gpus = _gpus()
    return f"{text}, {gpus}" if gpus else text


def _gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return ""
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
