"""One writer at a time: two tasks of one run would tear each other's journal."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any

from zppo_core.errors import UserError
from zppo_core.store.objects import MissingObjectError, ObjectStore, join

BEAT = 20.0  # seconds between signs of life
STALE = 120.0  # seconds without one after which a holder on another host is taken for dead


class RunLock:
    """Holds `<prefix>/lock.json` while a task writes; a context manager.

    A holder that is dead (its process is gone on this host, or it gave no sign of life for two
    minutes elsewhere) is replaced. UserError names a live one.
    """

    def __init__(self, store: ObjectStore, prefix: str, beat: float = BEAT,
                 stale: float = STALE) -> None:  # fmt: skip
        self.store, self.key = store, join(prefix, "lock.json")
        self.beat, self.stale = beat, stale
        self.token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def _content(self) -> bytes:
        holder = {
            "token": self.token, "pid": os.getpid(), "host": socket.gethostname(),
            "started": process_start(os.getpid()), "time": time.time(),
        }  # fmt: skip
        return json.dumps(holder).encode()

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lock; None if nobody, or if its record is torn."""
        try:
            found: dict[str, Any] = json.loads(self.store.get(self.key))
        except (MissingObjectError, ValueError):
            return None
        return found

    def _alive(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") == socket.gethostname():
            return process_start(int(holder["pid"])) == holder.get("started")
        return time.time() - float(holder["time"]) < self.stale

    def __enter__(self) -> RunLock:
        for _ in range(3):
            if self.store.put_new(self.key, self._content()):
                break
            holder = self.holder()
            if holder is not None and self._alive(holder):
                raise UserError(
                    f"this run is being written by process {holder['pid']} on {holder['host']}; "
                    "wait for it or stop it"
                )
            self.store.delete(self.key)
        else:
            raise UserError(
                f"cannot take the lock {self.key}; another task takes it at this moment"
            )
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def _beat(self) -> None:
        while not self._stop.wait(self.beat):
            self.store.put(self.key, self._content())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        holder = self.holder()
        if holder is not None and holder["token"] == self.token:
            self.store.delete(self.key)


def process_start(pid: int) -> str:
    """When the process started, as the kernel counts it; "" if there is none (a reused pid)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:  # no /proc, as on macOS: that the process exists is all that can be known
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
