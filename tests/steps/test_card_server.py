"""The server of live cards asks nobody for a key, so only this machine reaches it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from steps.card_server import is_requested, oldest_first

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def listening(pid: int) -> set[tuple[str, int]]:
    """Where the process and its descendants listen."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {
        (line.laddr.ip, line.laddr.port)
        for process in tree
        for line in process.net_connections("tcp")
        if line.status == psutil.CONN_LISTEN
    }


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[int]:
    """`zppo cards server`, without a run to show; its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "steps.cli", "cards", "server", "--port", str(port)],
        cwd=folder,
        env=os.environ | {"METAFLOW_USER": "zppo", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while not listening(process.pid):
            assert process.poll() is None
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.1)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_live_cards_are_for_this_machine_alone(tmp_path: Path) -> None:
    port = free_port()
    with server(tmp_path, port) as pid:
        assert listening(pid) == {("127.0.0.1", port)}
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        line.request("GET", "/runinfo")
        assert b"ZPPOFlow" in line.getresponse().read()
        line.close()
        for cards in psutil.net_if_addrs().values():
            for card in cards:
                if card.family == socket.AF_INET and not card.address.startswith("127."):
                    with pytest.raises(OSError, match=r"refused|unreachable"):
                        socket.create_connection((card.address, port), timeout=2).close()


@pytest.mark.parametrize(
    ("line", "serves"),
    [
        ("card server", True),
        ("--metadata local card --x server --port 1", True),
        ("card view server-1", False),
        ("run --name server", False),
        ("server card", False),
    ],
)
def test_only_the_server_is_changed(line: str, serves: bool) -> None:
    assert is_requested(line.split()) == serves


def test_the_viewer_is_given_the_newest_card_last_and_a_full_list_is_no_error() -> None:
    def cards(most: int) -> Iterator[str]:
        for i, name in enumerate(["epoch/4", "cache_teacher/3", "prepare_data/2"]):
            if i == most:
                raise StopIteration  # as Metaflow's does, which Python turns into a RuntimeError
            yield name

    assert list(oldest_first(cards)(9)) == ["prepare_data/2", "cache_teacher/3", "epoch/4"]
    assert list(oldest_first(cards)(2)) == ["cache_teacher/3", "epoch/4"]
