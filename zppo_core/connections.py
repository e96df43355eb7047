"""Sockets between a step and processes that work for it: who knows the key comes in."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from threading import Thread


class Door:
    """Listens at `host` on a free port; whoever connects must know `key`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), authkey=self.key, backlog=64)
        bound = self._listener.address
        self.address = f"{bound[0]}:{bound[1]}"

    def accept(self, count: int, seconds: float,
               alive: Callable[[], bool]) -> list[Connection]:  # fmt: skip
        """`count` connections; fewer if `seconds` passed or `alive` became false before."""
        found: list[Connection] = []

        def wait() -> None:
            while len(found) < count:
                try:
                    found.append(self._listener.accept())
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
    connection: Connection = Client((host, int(port)), authkey=key)
    return connection
