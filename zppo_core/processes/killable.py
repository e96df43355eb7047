"""Processes that run a function under limits and are killed when they exceed them.

A thread cannot be stopped in the middle of a big-number power, so grading by computer algebra and
users' own rewards run here: wall time, CPU time and memory are bounded, and a job that passes a
bound is an outcome of its own. Jobs travel as JSON lines: nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import LifoQueue

from zppo_core.errors import UserError
from zppo_core.extensions import imported, one_line

START_SECONDS = 60.0  # to import and prepare what the function needs, on a slow disk


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its JSON value, or why there is none.

    `fault` is "" for a value, "timeout" for a passed limit of time, else the error in one line.
    """

    value: object = None
    fault: str = ""


class _Process:
    """One worker process, started on its first job."""

    def __init__(self, function: str, memory_mb: int, jobs: int, prepare: Sequence[str]) -> None:
        self.arguments = [function, str(memory_mb), *prepare]
        self.jobs = jobs
        self.done = 0
        self.process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        process = subprocess.Popen(
            [sys.executable, "-m", "zppo_core.processes.killable", *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.process, self.done = process, 0
        ready = self._read_line(time.monotonic() + START_SECONDS)
        if ready is None or "ready" not in ready:
            ended = process.poll() is not None
            self.kill()
            silent = "it ended" if ended else f"no answer within {START_SECONDS:.0f} s"
            why = (ready or {}).get("fault", f"{silent} while it imported what it needs")
            raise UserError(f"cannot run {self.arguments[0]!r} in a worker: {why}")
        return process

    def run(self, arguments: Sequence[object], timeout: float) -> Outcome:
        line = json.dumps([timeout, *arguments]).encode() + b"\n"
        process = self._hand(line) or self._hand(line)
        if process is None:
            return Outcome(fault="the worker died")
        answer = self._read_line(time.monotonic() + timeout)
        if answer is None:
            # killed by its own CPU limit at about the wall limit: the same to the caller
            died = process.poll() is not None and process.returncode != -24
            self.kill()
            return Outcome(fault="the worker died (memory?)" if died else "timeout")
        self.done += 1
        if self.done >= self.jobs:
            self.kill()
        return Outcome(answer.get("value"), str(answer.get("fault", "")))

    def _hand(self, line: bytes) -> subprocess.Popen[bytes] | None:
        """The worker that has the job now; None if it had died before, which no job caused."""
        process = self.process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            self.kill()
            print(f"a worker of {self.arguments[0]} died while it was idle", file=sys.stderr)
            return None
        return process

    def _read_line(self, deadline: float) -> dict[str, object] | None:
        assert self.process is not None
        assert self.process.stdout is not None
        descriptor, received = self.process.stdout.fileno(), b""
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                return None
            part = os.read(descriptor, 1 << 16)
            if not part:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(1)
                return None
            received += part
        parsed: dict[str, object] = json.loads(received)
        return parsed

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _kill_all(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.kill()


class WorkerPool:
    """Runs `function` ("package.module:name") over jobs in a few killable processes.

    Processes start with the first job, are replaced after `jobs_per_worker` jobs or a kill, and end
    with the pool. Safe to call from several threads. `prepare` is a function like `function` and
    its arguments, called once in each process before its first job: imports that it makes do not
    count against the time and memory of a job.
    """

    def __init__(
        self,
        function: str,
        workers: int = 2,
        timeout: float = 5.0,
        memory_mb: int = 1024,
        jobs_per_worker: int = 2000,
        prepare: Sequence[str] = (),
    ) -> None:
        self.timeout = timeout
        processes = [
            _Process(function, memory_mb, jobs_per_worker, prepare) for _ in range(workers)
        ]
        self._idle: LifoQueue[_Process] = LifoQueue()
        for process in processes:
            self._idle.put(process)
        self._workers = workers
        self.close = weakref.finalize(self, _kill_all, processes)

    def map(self, jobs: Sequence[Sequence[object]]) -> list[Outcome]:
        """One outcome for each job (JSON-ready positional arguments), in order."""
        if not jobs:
            return []
        with ThreadPoolExecutor(self._workers) as threads:
            return list(threads.map(self._one, jobs))

    def _one(self, arguments: Sequence[object]) -> Outcome:
        process = self._idle.get()
        try:
            return process.run(arguments, self.timeout)
        finally:
            self._idle.put(process)


def resolve(path: str) -> Callable[..., object]:
    """The function at "package.module:name"; UserError if there is none or its import fails."""
    function = imported(path)
    if not callable(function):
        raise UserError(f"{path!r} is not a function")
    return function


def _limit_cpu(seconds: float) -> None:
    """Let this process use so much more CPU time; the kernel kills it after that."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    total = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (total, resource.RLIM_INFINITY))


def _mapped() -> int:
    """Bytes of address space that this process takes already; 0 where that is not told (macOS)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _serve(path: str, memory_mb: int, prepare: Sequence[str] = ()) -> None:
    """The worker's side: a job a line on stdin, an answer a line on what was stdout."""
    import resource

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints must not stand between the answers

    def answer(content: dict[str, object]) -> None:
        answers.write(json.dumps(content).encode() + b"\n")
        answers.flush()

    try:
        function = resolve(path)
        if prepare:
            resolve(prepare[0])(*prepare[1:])
    except Exception as error:
        answer({"fault": str(error) if isinstance(error, UserError) else one_line(error)})
        return
    most = _mapped() + (memory_mb << 20)
    with contextlib.suppress(ValueError, OSError):  # a lower hard limit stands already
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    answer({"ready": True})
    for line in sys.stdin.buffer:
        timeout, *arguments = json.loads(line)
        _limit_cpu(timeout)  # so that it ends even if its parent is gone
        try:
            answer({"value": function(*arguments)})
        except Exception as error:
            answer({"fault": one_line(error)})


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
