"""Who listens where: for tests that nothing of ours can be reached from another machine."""

from __future__ import annotations

import socket

import psutil
import pytest

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def listeners(root: int) -> dict[int, str]:
    """TCP ports on which the process and its descendants listen, and the address of each."""
    tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    return {
        line.laddr.port: line.laddr.ip
        for process in tree
        for line in process.net_connections("tcp")
        if line.status == psutil.CONN_LISTEN
    }


def outer() -> tuple[str, str]:
    """An interface of this machine that others reach, and its address; skips where it has none."""
    for name, cards in psutil.net_if_addrs().items():
        for card in cards:
            if card.family == socket.AF_INET and not card.address.startswith("127."):
                return name, card.address
    pytest.skip("this machine has no address but the loopback's")


def no_stranger(root: int, address: str) -> dict[int, str]:
    """The listeners of a process tree, which are there, and none of which `address` reaches."""
    found = listeners(root)
    assert found, "nothing listens: the test looks at the wrong processes"
    assert {ip for ip in found.values() if ip not in LOOPBACK} == set()
    for port in found:
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((address, port), timeout=2).close()
    return found
