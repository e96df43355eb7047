"""vLLM's own sockets, for real: the engine's processes listen for nobody but this host."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

if os.environ.get("ZPPO_TEST_VLLM") != "1":
    pytest.skip("needs the environment of `make test-vllm`", allow_module_level=True)

from test_vllm_engine import say

ROOT = Path(__file__).parents[2]
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
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


def outer_card() -> tuple[str, str]:
    """An interface of this machine that others reach, and its address; skips where it has none."""
    for name, cards in psutil.net_if_addrs().items():
        for card in cards:
            if card.family == socket.AF_INET and not card.address.startswith("127."):
                return name, card.address
    pytest.skip("this machine has no address but the loopback's")


@contextmanager
def engine(
    transport: str, ranks: int, folder: Path, environment: dict[str, str]
) -> Iterator[int]:
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


def listeners(root: int) -> dict[int, str]:
    """TCP ports on which the process and its descendants listen, and the address of each."""
    tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    return {
        line.laddr.port: line.laddr.ip
        for process in tree
        for line in process.net_connections("tcp")
        if line.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize(("transport", "ranks"), [("memory", 1), ("file", 2)])
def test_no_stranger_reaches_the_processes_of_an_engine(
    transport: str, ranks: int, tmp_path: Path
) -> None:
    """Though the environment names the outer interface and address, as a cluster's does."""
    name, address = outer_card()
    cluster = dict.fromkeys(("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"), name)
    cluster |= {"VLLM_HOST_IP": address, "MASTER_ADDR": address}
    cluster["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # fewer cores than ranks would be refused
    with engine(transport, ranks, tmp_path, cluster) as pid:
        found = listeners(pid)
        assert found, "gloo listens for other ranks: the test looks at the wrong processes"
        counted = ", ".join(f"{n} on {ip}" for ip, n in sorted(Counter(found.values()).items()))
        say(f"listeners of an engine, {transport}, {ranks} ranks", counted)
        assert {ip for ip in found.values() if ip not in LOOPBACK} == set()
        for port in found:
            with pytest.raises(OSError, match=r"refused|unreachable"):
                socket.create_connection((address, port), timeout=2).close()
