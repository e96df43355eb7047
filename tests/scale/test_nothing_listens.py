"""Nothing that a run starts can be reached from another machine, unless it asks for a key."""

from __future__ import annotations

import socket

import psutil
import pytest
from test_sharded import groups, remote

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def listeners(root: int) -> dict[int, str]:
    """Ports on which the process and its descendants listen, and the address of each."""
    tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    return {
        line.laddr.port: line.laddr.ip
        for process in tree
        for line in process.net_connections("tcp")
        if line.status == psutil.CONN_LISTEN
    }


def outer() -> tuple[str, str]:
    """Name and address of an interface that others would use; skips where there is none."""
    for name, cards in psutil.net_if_addrs().items():
        for card in cards:
            if card.family == socket.AF_INET and not card.address.startswith("127."):
                return name, card.address
    pytest.skip("this machine has no address but the loopback's")


def test_no_stranger_reaches_the_ranks_of_an_update(monkeypatch) -> None:
    interface, address = outer()
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # as a cluster's shell has them
        monkeypatch.setenv(name, interface)
    trainer = remote(2, 2)
    try:
        trainer.update(groups(0))
        found = listeners(trainer._process.pid)
        assert found, "gloo's ranks listen for each other: the test looks at the wrong processes"
        assert {ip for ip in found.values() if ip not in LOOPBACK} == set()
        for port in found:
            with pytest.raises(OSError, match=r"refused|unreachable"):
                socket.create_connection((address, port), timeout=2).close()
    finally:
        trainer.close()
