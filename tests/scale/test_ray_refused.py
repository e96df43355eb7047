"""What is wrong about a Ray is one line before a model is loaded."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
import ranks
import ray

from zppo_core import models
from zppo_core.cluster import connect
from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.run.session import open_session
from zppo_core.store.objects import open_store

JOIN = """
import sys
from zppo_core.cluster.connect import connect, prepare
from zppo_core.cluster.layout import Workers
from zppo_core.config import load
from zppo_core.errors import UserError
config = load("nano", ["compute.ray=" + sys.argv[1]])
prepare(config)
import ray
{before}
try:
    connect(config, Workers(1))
except UserError as fault:
    print("FAULT", fault)
"""


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(models, "load", refuse)


@pytest.fixture
def head() -> str:
    """The address of the Ray of all tests."""
    ranks.start()
    return ray.get_runtime_context().gcs_address


def refused(tmp_path, *sets: str) -> str:
    with pytest.raises(UserError) as fault:
        open_session(load("nano", [*sets]), open_store(str(tmp_path)), lambda phase: print)
    line = str(fault.value)
    assert len(line.splitlines()) == 1
    return line


def joined(address: str, before: str = "", **variables: str) -> str:
    """What a process of its own is told that would work on this Ray."""
    done = subprocess.run(
        [sys.executable, "-c", JOIN.format(before=before), address],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("FAULT")]
    return line


def test_without_ray_one_process_is_offered(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(connect.importlib.util, "find_spec", lambda name: None)
    line = refused(tmp_path, "compute.update_processes=2")
    assert "Ray and it is not installed; pip install" in line
    assert "compute.update_processes=1" in line


def test_an_address_that_does_not_answer(tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        line = refused(tmp_path, f"compute.ray={address}")
    assert f"no Ray answers at compute.ray={address} (Connection refused)" in line


def test_no_token(tmp_path, monkeypatch, head: str) -> None:
    monkeypatch.delenv(connect.TOKEN)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    assert f"no token for the Ray at {head}" in refused(tmp_path, f"compute.ray={head}")


def test_a_wrong_token(head: str) -> None:
    """This is also what keeps strangers out of a Ray that listens on the network."""
    line = joined(head, RAY_AUTH_TOKEN="b" * 64)
    assert "answers and lets nobody in; put the token" in line


def test_another_version_on_the_cluster(head: str) -> None:
    line = joined(head, before='ray.__version__ = "2.1.0"')
    assert "is another one than ours: Version mismatch" in line
    assert ray.__version__ in line


def watching() -> int:
    """How many threads of this process end it when a head of Ray is gone."""
    return sum(thread.name == "head" for thread in threading.enumerate())


def test_fewer_gpus_or_nodes_than_asked(tmp_path, head: str) -> None:
    before = watching()
    gpus = "compute.device=cuda", "compute.student_gpus=6", "compute.teacher_gpus=2"
    line = refused(tmp_path, f"compute.ray={head}", "compute.engine=vllm", *gpus)
    assert "needs 1 nodes of 8 GPUs and this Ray has nodes of [0]" in line
    line = refused(tmp_path, f"compute.ray={head}", "compute.update_hosts=3")
    assert "needs 3 nodes of 1 CPUs and this Ray has nodes of [8]" in line
    assert ranks.CPUS == 8
    assert watching() == before  # who is refused may go on without that Ray


def test_a_run_of_one_process_needs_no_ray() -> None:
    code = "import sys; from zppo_core.run import session, loop; import zppo_core.cluster.layout"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('ray' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
