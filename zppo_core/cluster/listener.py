"""Sockets between a step and processes that work for it: who knows the key comes in."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Lock, Thread

# seconds of silence until a peer is asked, between questions, and how many stay unanswered: a host
# that lost its power or its network says nothing
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 8))
HANDSHAKE = 30.0  # seconds that a peer may be silent before it has shown that it knows the key
GREETED = 64  # peers at once that have not shown it yet; one more is hung up on


class Door:
    """Listens on a free port; whoever connects must know `key`.

    `host` is this host's name as others see it: all its addresses then listen, for a host may know
    itself by another one (Debian: 127.0.1.1). Without it only this host can come in. Strangers
    (scanners, health checks) are counted in `refused`, said, and keep nobody else waiting.
    """

    def __init__(self, host: str = "") -> None:
        self.key = secrets.token_bytes(32)
        self.refused = 0
        bind = "0.0.0.0" if host else "127.0.0.1"
        self._socket = socket.create_server((bind, 0), backlog=64)
        # closing a socket does not wake who waits on it
        self._socket.settimeout(0.2)
        self.address = f"{host or bind}:{self._socket.getsockname()[1]}"
        self._known: SimpleQueue[Connection] = SimpleQueue()
        self._closed, self._lock = Event(), Lock()
        self._places = BoundedSemaphore(GREETED)
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                line, (peer, *_) = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:  # the peer left already, or no file descriptor is free now
                self._closed.wait(0.1)
                continue
            if not self._places.acquire(blocking=False):
                line.close()
                self._turned_away(peer, "too many at once")
                continue
            Thread(target=self._greet, args=(line, peer), daemon=True).start()
        self._socket.close()

    def _greet(self, line: socket.socket, peer: str) -> None:
        """Let the peer in if it knows the key, in a thread of its own: it may say nothing."""
        try:
            self._admit(line, peer)
        finally:
            self._places.release()

    def _admit(self, line: socket.socket, peer: str) -> None:
        line.setblocking(True)
        _limit(line, HANDSHAKE)
        connection = Connection(line.detach())
        try:
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            with _socket_of(connection) as same:
                _limit(same, 0.0)
            _watch(connection)
        except (AuthenticationError, AssertionError, EOFError, OSError) as error:
            self._turned_away(peer, str(error))
            connection.close()
            return
        self._known.put(connection)
        if self._closed.is_set():
            self._drop()

    def _turned_away(self, peer: str, why: str) -> None:
        with self._lock:
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:  # the 1st, 2nd, 4th, …: no flood
                print(
                    f"door {self.address}: turned away {self.refused} connections that do not "
                    f"know the key, the last from {peer} ({why})",
                    flush=True,
                )

    def accept(self, count: int, seconds: float, alive: Callable[[], bool]) -> list[Connection]:
        """`count` connections; fewer if `seconds` passed or `alive` became false before."""
        found: list[Connection] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline and alive():
            with contextlib.suppress(Empty):
                found.append(self._known.get(timeout=0.2))
        return found

    def close(self) -> None:
        """Take nobody else in."""
        self._closed.set()
        self._drop()

    def _drop(self) -> None:
        # who came in after everybody that was awaited
        with contextlib.suppress(Empty):
            while True:
                self._known.get_nowait().close()


def connect(address: str, key: bytes) -> Connection:
    """A connection to the `Door` at `address` (host:port)."""
    host, _, port = address.rpartition(":")
    return _watch(Client((host, int(port)), authkey=key))


def _socket_of(connection: Connection) -> socket.socket:
    """A second handle on the connection's socket, to set its options."""
    return socket.socket(fileno=os.dup(connection.fileno()))


def _limit(line: socket.socket, seconds: float) -> None:
    """Let each read and write on the socket fail after so much silence; 0: never."""
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _watch(connection: Connection) -> Connection:
    """The connection, whose reads fail within minutes of its other end's silent death."""
    with _socket_of(connection) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):  # not all on macOS
                same.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection
