"""Workers that are forks of this process: they have all that it has, and one thread each.

What they are to do travels to them by a pipe, as does what it came to. They see what lies in shared
memory as this process changes it; anything else is as it was when they were forked.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import NoReturn, cast

from zppo_core.errors import UserError

Task = Callable[..., object]
REMEDY = "`resume` goes on from what is committed; compute.workers=1 does without workers"
READY = "ready"
DEATH_SIGNAL = 1  # of the kernel's prctl: the signal that a process gets when its parent dies


class NoCrewError(Exception):
    """Forks of this process cannot work; the text says why."""


@dataclass(frozen=True)
class _Worker:
    pid: int
    pipe: Connection

    def end(self) -> int:
        """Kill it if it lives; how it ended, as `os.waitstatus_to_exitcode` has it."""
        self.pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # another has waited for it
            return 0


def _end_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().end()


class Crew:
    """`count` forks of this process that perform `tasks` by name; for one caller at a time.

    `begin` is called in each of them first: NoCrewError, and no workers, if it fails there. A fault
    while they work ends them all, for none can be stopped in the middle of a task. They end with
    this process, however it ends. `patience`: seconds that they may all be silent; 0: for ever.
    """

    def __init__(
        self,
        count: int,
        tasks: Mapping[str, Task],
        begin: Callable[[], None],
        patience: float = 0.0,
    ) -> None:
        self.patience = patience
        self._workers: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, int]] = {}
        self.close = weakref.finalize(self, _end_all, self._workers)
        self._lock = threading.Lock()
        for _ in range(count):
            self._workers.append(_fork(tasks, begin))
        try:
            words = [_received(worker.pipe) for worker in self._workers]
        except (OSError, EOFError) as error:
            self.close()
            raise NoCrewError(f"a worker ended as it began ({type(error).__name__})") from None
        if faults := [one for one in words if one != READY]:
            self.close()
            raise NoCrewError(str(faults[0]))

    @property
    def pids(self) -> list[int]:
        """Of the workers; none after their end."""
        return [worker.pid for worker in self._workers]

    def perform(
        self,
        task: str,
        jobs: Sequence[tuple[object, ...]],
        window: int = 0,
        done: Callable[[int], None] | None = None,
    ) -> Iterator[object]:
        """What `task` gives for each of `jobs` (its arguments), in their order.

        A worker takes the next job as it becomes free, but none that is `window` or more behind
        the first whose value is not yet taken (0: any). `done` is told of each that is finished, in
        whatever order. Raises what a job raised; UserError if a worker dies or none says anything
        for `patience` seconds.
        """
        with self._lock:
            try:
                yield from self._perform(task, jobs, window or len(jobs), done)
            finally:
                if self._busy:
                    self.close()

    def _perform(
        self,
        task: str,
        jobs: Sequence[tuple[object, ...]],
        window: int,
        done: Callable[[int], None] | None,
    ) -> Iterator[object]:
        idle, values = list(reversed(self._workers)), dict[int, object]()
        dealt = taken = 0
        if not idle:
            raise UserError(f"the run's workers have ended; {REMEDY}")
        while taken < len(jobs):
            while idle and dealt < min(len(jobs), taken + window):
                worker = idle.pop()
                self._hand(worker, (task, jobs[dealt]))
                self._busy[worker.pipe] = worker, dealt
                dealt += 1
            if taken in values:
                yield values.pop(taken)
                taken += 1
                continue
            for pipe in self._heard(list(self._busy)):
                worker, number = self._busy.pop(pipe)
                values[number] = self._value(worker)
                idle.append(worker)
                if done is not None:
                    done(number)

    def _heard(self, pipes: list[Connection]) -> list[Connection]:
        """Those of `pipes` that have something to say."""
        heard = wait(pipes, self.patience or None)
        if not heard:
            since = time.strftime("%H:%M:%S", time.localtime(time.time() - self.patience))
            raise UserError(
                f"the run's workers: nothing came back for {self.patience:.0f} s, since {since}; "
                f"{REMEDY}"
            )
        return [pipe for pipe in pipes if pipe in heard]

    def _hand(self, worker: _Worker, what: object) -> None:
        try:
            worker.pipe.send_bytes(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))
        except OSError:
            raise self._died(worker) from None

    def _value(self, worker: _Worker) -> object:
        try:
            answer = _received(worker.pipe)
        except (OSError, EOFError):
            raise self._died(worker) from None
        if isinstance(answer, BaseException):
            raise answer
        return cast("tuple[object]", answer)[0]

    def _died(self, worker: _Worker) -> UserError:
        """What is said of a worker that is no more."""
        self._workers.remove(worker)
        status = worker.end()
        self.close()
        how = f"was killed by {_signal(-status)}" if status < 0 else f"ended with status {status}"
        why = " (out of memory?)" if status == -signal.SIGKILL else ""
        return UserError(f"worker {worker.pid} of this run {how}{why}; {REMEDY}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _received(pipe: Connection) -> object:
    # from a fork of this process alone, by a pipe that nobody else has
    words: object = pickle.loads(pipe.recv_bytes())
    return words


def _fork(tasks: Mapping[str, Task], begin: Callable[[], None]) -> _Worker:
    near, far = Pipe()
    parent, main = os.getpid(), threading.current_thread() is threading.main_thread()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # of threads: what they hold of Python's own locks is free in a fork, and a worker needs
        # nothing of theirs
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _attend(far, tasks, begin, parent if main else 0)
    far.close()
    return _Worker(pid, near)


def _attend(
    pipe: Connection, tasks: Mapping[str, Task], begin: Callable[[], None], parent: int
) -> NoReturn:
    """The worker's life; it never comes back to the caller of the fork."""
    status = 1
    try:
        _settle(pipe, parent)
        try:
            begin()
        except Exception as error:
            _say(pipe, f"{type(error).__name__}: {error}".splitlines()[0])
            os._exit(0)
        _say(pipe, READY)
        while True:
            task, arguments = cast("tuple[str, tuple[object, ...]]", _received(pipe))
            try:
                answer: object = (tasks[task](*arguments),)
            except Exception as error:
                if not isinstance(error, UserError):  # that has one line
                    error.add_note("in a worker:\n" + traceback.format_exc())
                answer = error
            _say(pipe, answer)
    except (EOFError, OSError):
        status = 0  # the parent is no more
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        # neither files nor processes of the parent are ended here
        os._exit(status)


def _say(pipe: Connection, what: object) -> None:
    try:
        data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # a fault of a job may hold anything
        data = pickle.dumps(RuntimeError(f"a worker cannot say {what!r:.200}: {error}"))
    pipe.send_bytes(data)


def _settle(pipe: Connection, parent: int) -> None:
    """What a fork leaves to its parent: signals, files, garbage; and how it learns of its end."""
    if parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    gc.freeze()  # what the parent left lying may hold folders and processes
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    # other workers' pipes, or they would not hear of the parent's end; locks and sockets
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.FileIO(number, "w", closefd=False), "utf-8", "replace", line_buffering=True
        )
        for number in (1, 2)
    )
