"""What the benchmarks share: the machine they ran on, a table, a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from zppo_core.processes.machine import code_version, machine

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "transformers",
    "triton",
    "fla-core",
    "flash-linear-attention",
    "trl",
    "tree-recurrence",
)


def line(name: str, settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One result with machine, date and versions, ready to be written as a line of JSON."""
    return {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "code": code_version(),
        "versions": {p: v for p in PACKAGES if (v := _version(p))},
        "settings": settings,
        "rows": list(rows),
    }


def record(name: str, settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Print `rows` as a table and append them, with machine, date and versions, to results/."""
    print(table(rows))
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line(name, settings, rows)) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def text(value: Any) -> str:
    """A cell: numbers to three digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table; a column that only some rows have is empty in the others."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[text(row.get(name)).replace("|", "\\|") for name in names] for row in rows]
    lines = [[n.replace("|", "\\|") for n in names], ["---"] * len(names), *cells]
    return "\n".join("| " + " | ".join(cell) + " |" for cell in lines)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as aligned text, numbers to three digits."""

    names = list(rows[0])
    cells = [names, *[[text(r[n]) for n in names] for r in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def seconds(work: Callable[[], Any], device: str = "cpu") -> float:
    """Wall time of one call, the device's queue emptied before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_fresh_process(script: str, *arguments: str) -> dict[str, Any]:
    """Run `script` again with `arguments`; the JSON on its last line, and its peak memory [MiB]."""
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def peak_mib() -> float:
    """Most memory this process held since it started [MiB]."""
    return _status("VmHWM")  # not ru_maxrss: that begins with the parent's at the fork


def resting_mib() -> float:
    """Memory this process holds now [MiB]."""
    return _status("VmRSS")


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")
