"""Without its head a run ends with one line of ours, before Ray ends it without one."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

WORK = """
import sys, threading
from zppo_core.cluster.connect import connect, prepare
from zppo_core.cluster.layout import Workers
from zppo_core.config import load
config = load("nano", ["compute.ray=" + sys.argv[1]])
prepare(config)
from zppo_core.cluster import head
head.EVERY, head.GONE = 0.5, 4.0
connect(config, Workers(1))
watch = head.HeadWatch()
import ray

@ray.remote(num_cpus=0)
class Slow:
    def work(self):
        threading.Event().wait(300)

waiting = Slow.remote().work.remote()
print("AT WORK", flush=True)
if sys.argv[2] == "waits":
    ray.get(waiting)
sys.stdin.readline()
watch.stop()
threading.Event().wait(6)
print("HERE", flush=True)
"""


@dataclass
class Head:
    """A head of its own, in a folder of its own."""

    address: str
    folder: str
    variables: dict[str, str]

    def kill(self) -> None:
        """End its control process as a power failure would."""
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if words and words[0].endswith("gcs_server") and self.folder in " ".join(words):
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def head(tmp_path_factory) -> Iterator[Head]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = str(tmp_path_factory.mktemp("r"))
    variables = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_TMPDIR": folder,
    }
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--head"]
    words += [f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    words += ["--disable-usage-stats", "--num-cpus=1", "--object-store-memory=100000000"]
    words += [f"--temp-dir={folder}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, env=variables, start_new_session=True, **quiet)
    try:
        yield Head(f"127.0.0.1:{port}", folder, variables)
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def at_work(head: Head, how: str) -> subprocess.Popen[str]:
    """A driver that waits for an actor, or for us."""
    pipe = subprocess.PIPE
    for _ in range(60):
        driver = subprocess.Popen(
            [sys.executable, "-c", WORK, head.address, how],
            env=head.variables,
            text=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        assert driver.stdout is not None
        if driver.stdout.readline() == "AT WORK\n":
            return driver
        driver.kill()  # the head is not there yet
        driver.wait()
    raise AssertionError("no head")


def test_a_head_that_dies_is_one_line_and_an_exit_code(head: Head) -> None:
    driver = at_work(head, "waits")
    head.kill()
    _, said = driver.communicate(timeout=40)
    (line,) = [x for x in said.splitlines() if "head of Ray" in x]
    assert line.startswith(f"the head of Ray at {head.address} died (Connection refused")
    assert line.endswith("; start it again, then resume goes on at the last phase")
    assert driver.returncode == 1
    assert "Traceback" not in said


def test_a_ray_that_is_given_up_may_lose_its_head(head: Head) -> None:
    driver = at_work(head, "is told")
    assert driver.stdin is not None
    driver.stdin.write("\n")
    driver.stdin.flush()
    head.kill()
    heard, said = driver.communicate(timeout=60)
    assert "HERE" in heard
    assert "head of Ray" not in said
