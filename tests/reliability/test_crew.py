"""Workers that are forks: order, faults in one line, and nobody who outlives his parent."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zppo_core.errors import UserError
from zppo_core.processes.crew import Crew, NoCrewError

if sys.platform != "linux":
    pytest.skip("crews are for Linux", allow_module_level=True)

FAULTS = {"user": UserError("mend it"), "value": ValueError("odd")}


def nap(seconds: float, value: int = 0) -> int:
    time.sleep(seconds)
    return value


def raised(kind: str) -> None:
    raise FAULTS[kind]


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def files() -> list[str]:
    folder = "/proc/self/fd"
    numbers = os.listdir(folder)
    return [os.readlink(f"{folder}/{n}") for n in numbers if os.path.lexists(f"{folder}/{n}")]


def speak(text: str) -> None:
    print(text)


TASKS = {
    "nap": nap,
    "raise": raised,
    "threads": threads,
    "files": files,
    "speak": speak,
    "pid": os.getpid,
}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew(2, TASKS, lambda: None)
    yield made
    made.close()


def test_values_come_in_the_jobs_order_and_are_told_as_they_finish(crew: Crew) -> None:
    told: list[int] = []
    jobs = [(0.6, 0), (0.0, 1), (0.0, 2), (0.0, 3)]
    assert list(crew.perform("nap", jobs, done=told.append)) == [0, 1, 2, 3]
    assert told[-1] == 0
    assert sorted(told) == [0, 1, 2, 3]
    assert list(crew.perform("nap", [])) == []


def test_no_job_is_dealt_before_its_window_is_free(crew: Crew) -> None:
    """Its place in shared memory still holds what nobody has read."""
    told: list[int] = []
    jobs = [(0.6, 0), (0.0, 1), (0.0, 2), (0.0, 3)]
    values = crew.perform("nap", jobs, window=2, done=told.append)
    assert next(values) == 0
    assert told == [1, 0]
    assert list(values) == [1, 2, 3]
    assert sorted(told) == [0, 1, 2, 3]


def test_two_work_at_the_same_time(crew: Crew) -> None:
    began = time.monotonic()
    assert len(list(crew.perform("nap", [(1.0, 0)] * 2))) == 2
    assert time.monotonic() - began < 1.8


def test_a_jobs_fault_is_raised_here_and_the_crew_works_on(crew: Crew) -> None:
    with pytest.raises(UserError, match=r"^mend it$"):
        list(crew.perform("raise", [("user",)]))
    with pytest.raises(ValueError, match=r"^odd") as fault:
        list(crew.perform("raise", [("value",)]))
    assert "in raised" in "".join(fault.value.__notes__)
    assert list(crew.perform("nap", [(0.0, 7)])) == [7]


def test_a_fault_while_another_works_ends_all(crew: Crew) -> None:
    pids = crew.pids

    def broken(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(crew.perform("nap", [(0.0, 0), (60.0, 1)], done=broken))
    assert gone(pids)
    with pytest.raises(UserError, match=r"workers have ended; `resume` goes on"):
        list(crew.perform("nap", [(0.0, 0)]))


@pytest.mark.parametrize("idle", [False, True])
def test_a_worker_that_is_killed_ends_the_work_in_one_line(crew: Crew, idle: bool) -> None:
    pids = crew.pids
    if idle:
        os.kill(pids[0], signal.SIGKILL)
        assert gone(pids[:1])
    else:
        threading.Timer(0.3, os.kill, (pids[0], signal.SIGKILL)).start()
    with pytest.raises(UserError) as fault:
        list(crew.perform("nap", [(60.0, 0)] * 2))
    line = str(fault.value)
    assert len(line.splitlines()) == 1
    assert line.startswith(f"worker {pids[0]} of this run was killed by SIGKILL (out of memory?); ")
    assert "`resume` goes on" in line
    assert gone(pids)


def test_workers_that_hang_end_the_work_in_one_line() -> None:
    crew = Crew(2, TASKS, lambda: None, patience=0.5)
    pids = crew.pids
    with pytest.raises(UserError, match=r"^the run's workers: nothing came back for 0 s, since "):
        list(crew.perform("nap", [(60.0, 0)] * 2))
    assert gone(pids)


def test_a_worker_has_one_thread_and_no_file_of_its_parent(tmp_path: Path) -> None:
    """A lock or a pipe that it held would outlive its parent."""
    over = threading.Event()
    beside = threading.Thread(target=over.wait)
    beside.start()
    with open(tmp_path / "held", "w") as file, os.fdopen(fcntl.fcntl(file, fcntl.F_DUPFD, 900)):
        crew = Crew(2, TASKS, lambda: None)
        try:
            assert len(os.listdir("/proc/self/task")) > 1
            assert list(crew.perform("threads", [()] * 2)) == [1, 1]
            (held,) = crew.perform("files", [()])
        finally:
            crew.close()
            over.set()
            beside.join()
    assert isinstance(held, list)
    assert not [name for name in held if name.startswith(str(tmp_path))]
    assert len([name for name in held if name.startswith("socket:")]) == 1


def test_where_no_fork_can_work_there_is_no_crew() -> None:
    def begin() -> None:
        raise UserError("no torch here")

    with pytest.raises(NoCrewError, match="no torch here"):
        Crew(2, TASKS, begin)


def test_what_a_worker_prints_is_seen(capfd: pytest.CaptureFixture[str]) -> None:
    crew = Crew(1, TASKS, lambda: None)
    list(crew.perform("speak", [("from a worker",)]))
    crew.close()
    assert "from a worker\n" in capfd.readouterr().out


PARENT = """
import os, signal, sys, threading, time
from zppo_core.processes.crew import Crew
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
crew = Crew(2, {"nap": time.sleep}, lambda: None)
print(*crew.pids, flush=True)
if sys.argv[1] == "idle":
    time.sleep(60)
list(crew.perform("nap", [(60.0,)] * 2))
"""


@pytest.mark.parametrize("how", ["idle", "at work"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(how: str, number: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), how], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(0.3)
    assert len(pids) == 2
    assert all(map(alive, pids))
    parent.send_signal(number)
    assert parent.wait(20) == -number
    assert gone(pids)


def test_an_interrupt_is_the_parents_alone_and_ends_quietly() -> None:
    """Ctrl-C reaches the whole group."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), "at work"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(0.3)
    os.killpg(parent.pid, signal.SIGINT)
    errors = parent.communicate(timeout=20)[1]
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert gone(pids)


def test_a_worker_leaves_the_interrupt_to_its_parent(crew: Crew) -> None:
    for pid in crew.pids:
        os.kill(pid, signal.SIGINT)
    assert list(crew.perform("nap", [(0.1, 1)] * 2)) == [1, 1]
