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


def outer_address() -> str:
    """An address of this machine that others would use; skips where it has none."""
    for cards in psutil.net_if_addrs().values():
        for card in cards:
            if card.family == socket.AF_INET and not card.address.startswith("127."):
                return card.address
    pytest.skip("this machine has no address but the loopback's")


def test_no_stranger_reaches_the_ranks_of_an_update() -> None:
    trainer = remote(2, 2)
    try:
        trainer.update(groups(0))
        found = listeners(trainer._process.pid)
        assert found, "gloo's ranks listen for each other: the test looks at the wrong processes"
        assert {ip for ip in found.values() if ip not in LOOPBACK} == set()
        address = outer_address()
        for port in found:
            with pytest.raises(OSError, match=r"refused|unreachable"):
                socket.create_connection((address, port), timeout=2).close()
    finally:
        trainer.close()
