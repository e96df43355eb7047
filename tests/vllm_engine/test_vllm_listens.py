"""vLLM's own sockets, for real: the engine's processes listen for nobody but this host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if os.environ.get("ZPPO_TEST_VLLM") != "1":
    pytest.skip("needs the environment of `make test-vllm`", allow_module_level=True)

from listeners import no_stranger, outer
from test_vllm_engine import say

ROOT = Path(__file__).parents[2]
# an engine that has answered, in a process tree of its own; it ends when its input does
ENGINE = """
import sys
import torch
from zppo_core import models
from zppo_core.engines.vllm import VllmEngine
from zppo_core.protocols import Sampling
from zppo_core.types import Prompt

if __name__ == "__main__":
    renderer = models.load("nano:student", torch.float32)[1]
    transport, ranks = sys.argv[1], int(sys.argv[2])
    settings = {"max_model_len": 256, "tensor_parallel_size": ranks}
    engine = VllmEngine("nano:student", renderer, transport=transport, **settings)
    engine.generate([Prompt("1 + 1 = ?")], Sampling(4), [0])
    print("it has answered", flush=True)
    sys.stdin.read()
    engine.close()
"""


@contextmanager
def engine(transport: str, ranks: int, folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """The process of an engine that has answered once."""
    (folder / "engine.py").write_text(ENGINE)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(folder / "engine.py"), transport, str(ranks)],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = any("it has answered" in line for line in process.stdout)
        assert said, (folder / "log").read_text()[-2000:]
        yield process.pid
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("transport", "ranks"), [("memory", 1), ("file", 2)])
def test_no_stranger_reaches_the_processes_of_an_engine(
    transport: str, ranks: int, tmp_path: Path
) -> None:
    """Though the environment names the outer interface and address, as a cluster's does."""
    name, address = outer()
    cluster = dict.fromkeys(("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"), name)
    cluster |= {"VLLM_HOST_IP": address, "MASTER_ADDR": address}
    cluster["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # fewer cores than ranks would be refused
    with engine(transport, ranks, tmp_path, cluster) as pid:
        found = no_stranger(pid, address)
        counted = ", ".join(f"{n} on {ip}" for ip, n in sorted(Counter(found.values()).items()))
        say(f"listeners of an engine, {transport}, {ranks} ranks", counted)
