"""One writer at a time: two tasks of one run would tear each other's work.

The lock is an object that its holder renews. It changes hands by compare-and-swap alone, so of two
tasks that find a dead holder only one takes over.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any

from zppo_core.errors import UserError
from zppo_core.store.base import DamagedObjectError, MissingObjectError, ObjectStore, join

BEAT = 20.0  # seconds between signs of life
# interrupts the task that lost its lock; SIGINT is ignored where a script started it with `&`
ALARM = signal.SIGUSR2
UNKNOWN = "alive"  # when a process started, where only that it exists can be known
STALE = 120.0  # seconds without one after which a holder elsewhere is taken for dead


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


class RunLock:
    """Holds `<prefix>/lock.json` while a task writes; a context manager.

    A holder whose process is gone on this machine is replaced at once; one elsewhere, or whose
    record does not tell, when it has given no sign of life for `stale` seconds of watching (no
    clocks are compared). UserError names
    a live one. A task that loses its lock, because it slept too long or someone deleted it, is
    interrupted and ends with a UserError.
    """

    def __init__(
        self, store: ObjectStore, prefix: str, beat: float = BEAT, stale: float = STALE
    ) -> None:
        self.store, self.key = store, join(prefix, "lock.json")
        self.beat, self.stale = beat, stale
        self.token = uuid.uuid4().hex
        self.lost = False
        self._record = b""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_main = False
        self._before: Any = signal.SIG_DFL  # what ALARM did before

    def _content(self) -> bytes:
        holder = {
            "token": self.token,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "machine": machine(),
            "started": process_start(os.getpid()),
            "time": time.time(),
        }
        return json.dumps(holder).encode()

    def _holder(self) -> bytes | None:
        try:
            return self.store.get(self.key)
        except MissingObjectError:
            return None
        except DamagedObjectError:
            raise UserError(
                f"the lock {self.store.url}/{self.key} is damaged; delete it if no task writes"
            ) from None

    def __enter__(self) -> RunLock:
        self._record = self._content()
        while not self.store.put_new(self.key, self._record):
            holder = self._holder()
            if holder is None:
                continue  # given back this moment
            if self._dead(holder) and self.store.swap(self.key, holder, self._record):
                break
        self._stop.clear()
        self.lost = False
        self._in_main = threading.current_thread() is threading.main_thread()
        if self._in_main:
            self._before = signal.signal(ALARM, _interrupt)
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)
        self._thread.start()
        return self

    def _dead(self, record: bytes) -> bool:
        """Whether the holder is dead; UserError if it lives, False if the lock changed hands."""
        holder = parse(record)
        if holder.get("machine") == machine():
            lives = is_alive(holder)
            if lives:
                raise held_by(holder)
            if lives is not None:
                return True
        print(f"the run is held by {named(holder)}: looking for a sign of life", flush=True)
        end = time.monotonic() + self.stale
        while time.monotonic() < end:
            time.sleep(min(1.0, self.stale / 10))
            newer = self._holder()
            if newer is None:
                return False
            if newer != record:
                raise held_by(parse(newer))
        return True

    def _keep_alive(self) -> None:
        while not self._stop.wait(self.beat):
            try:
                kept = self._renew()
            except (DamagedObjectError, MissingObjectError):
                kept = False
            except UserError:
                continue  # the store is away: the task's own writes will tell, the next beat may do
            if not kept:
                self.lost = True
                if self._in_main:
                    signal.pthread_kill(threading.main_thread().ident or 0, ALARM)
                return

    def _renew(self) -> bool:
        """Give a sign of life; whether the lock is still ours."""
        renewed = self._content()
        if not self.store.swap(self.key, self._record, renewed):
            holder = self.store.get(self.key)
            if not self._is_ours(holder):
                return False
            # an earlier sign arrived, but its answer was lost with all attempts after it
            if not self.store.swap(self.key, holder, renewed):
                return self._is_ours(self.store.get(self.key))
        self._record = renewed
        return True

    def _is_ours(self, record: bytes) -> bool:
        return parse(record).get("token") == self.token

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        # a loss noticed now would interrupt us: the answer below says the same
        in_main, self._in_main = self._in_main, False
        if self._thread is not None:
            self._thread.join()
        if in_main:
            signal.signal(ALARM, self._before or signal.SIG_DFL)
        if self.lost:
            if error is None or isinstance(error, KeyboardInterrupt):
                raise UserError(
                    f"this task lost the lock {self.store.url}/{self.key} to another, or it was "
                    "deleted; `resume` the run when no other task writes"
                ) from error
            return
        # a lock that stays is taken over from a dead process; the task's own error matters more
        with contextlib.suppress(UserError, DamagedObjectError, MissingObjectError):
            if self._is_ours(
                self.store.get(self.key)
            ):  # whichever of our signs of life arrived last
                self.store.delete(self.key)


def parse(record: bytes) -> dict[str, Any]:
    """A lock's record; empty if it is none."""
    try:
        holder = json.loads(record)
    except (ValueError, RecursionError):
        return {}
    sound = isinstance(holder, dict) and isinstance(holder.get("pid"), int)
    return holder if sound else {}


def is_alive(holder: dict[str, Any]) -> bool | None:
    """Whether a holder of this machine lives; None if its record does not tell.

    It does not where the number is in use, but not when its process started: the holder may be
    dead, and the number another's.
    """
    now, began = process_start(int(holder["pid"])), holder.get("started")
    if not now:
        return False
    if now == began:
        return True
    conclusive = isinstance(began, str) and began not in ("", UNKNOWN) and now != UNKNOWN
    return False if conclusive else None


def named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def held_by(holder: dict[str, Any]) -> UserError:
    return UserError(f"this run is being written by {named(holder)}; wait for it or stop it")


def machine() -> str:
    """Where process ids mean the same: host, its boot, and the process namespace (containers)."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        parts.append(file.read().strip())
    with contextlib.suppress(OSError):
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(parts)


def process_start(pid: int) -> str:
    """When the process started, as the kernel counts it; "" if there is none (a reused pid)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
            return "" if fields[0] in "ZX" else fields[19]  # a zombie writes no more
    except OSError:
        pass
    if pid <= 0:  # to `kill` these mean groups of processes
        return ""
    try:  # no /proc, as on macOS: that the process exists is all that can be known
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return UNKNOWN
    except (OSError, OverflowError):
        return ""
    return UNKNOWN
