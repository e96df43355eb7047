"""Sockets between a step and processes that work for it: who knows the key comes in."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from threading import Thread

# seconds of silence until a peer is asked, between questions, and how many stay unanswered: a host
# that lost its power or its network says nothing
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 8))


class Door:
    """Listens on a free port; whoever connects must know `key`.

    `host` is this host's name as others see it: all its addresses then listen, for a host may know
    itself by another one (Debian: 127.0.1.1). Without it only this host can come in.
    """

    def __init__(self, host: str = "") -> None:
        self.key = secrets.token_bytes(32)
        bind = "0.0.0.0" if host else "127.0.0.1"
        self._listener = Listener((bind, 0), authkey=self.key, backlog=64)
        self.address = f"{host or bind}:{self._listener.address[1]}"

    def accept(self, count: int, seconds: float,
               alive: Callable[[], bool]) -> list[Connection]:  # fmt: skip
        """`count` connections; fewer if `seconds` passed or `alive` became false before."""
        found: list[Connection] = []

        def wait() -> None:
            while len(found) < count:
                try:
                    found.append(_watched(self._listener.accept()))
                except (AuthenticationError, EOFError, ConnectionError):
                    continue  # not one of ours
                except OSError:
                    return  # closed

        waiting = Thread(target=wait, daemon=True)
        waiting.start()
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline and alive():
            waiting.join(0.2)
        return found

    def close(self) -> None:
        """Take nobody else in."""
        self._listener.close()


def connect(address: str, key: bytes) -> Connection:
    """A connection to the `Door` at `address` (host:port)."""
    host, _, port = address.rpartition(":")
    return _watched(Client((host, int(port)), authkey=key))


def _watched(connection: Connection) -> Connection:
    """The connection, whose reads fail within minutes of its other end's silent death."""
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):  # not all on macOS
                same.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection
