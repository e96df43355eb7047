import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from zppo_core.errors import UserError
from zppo_core.store.lock import ALARM, RunLock, machine, process_start
from zppo_core.store.objects import LocalStore

ELSEWHERE = {"token": "x", "pid": 1, "host": "elsewhere", "machine": "other", "started": "1"}


def record(**changes: object) -> bytes:
    return json.dumps({**ELSEWHERE, **changes}).encode()


def dead_here() -> bytes:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return record(pid=child.pid, machine=machine())


def test_a_second_writer_is_turned_away_and_named_the_first(store) -> None:
    with (
        RunLock(store, "run"),
        pytest.raises(UserError, match=str(os.getpid())),
        RunLock(store, "run"),
    ):
        pass
    assert not store.exists("run/lock.json")
    with RunLock(store, "run"):
        pass


def test_a_killed_holder_is_replaced_at_once(tmp_path: Path) -> None:
    code = (
        "import os; from zppo_core.store.lock import RunLock; "
        "from zppo_core.store.objects import LocalStore; "
        f"RunLock(LocalStore({str(tmp_path)!r}), 'run').__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    store = LocalStore(tmp_path)
    assert store.exists("run/lock.json")
    started = time.monotonic()
    with RunLock(store, "run"):
        assert json.loads(store.get("run/lock.json"))["pid"] == os.getpid()
    assert time.monotonic() - started < 5


def test_a_process_that_only_took_over_the_number_is_not_the_holder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("run/lock.json", record(pid=os.getpid(), machine=machine(), started="1"))
    with RunLock(store, "run"):
        assert json.loads(store.get("run/lock.json"))["started"] != "1"


@pytest.mark.parametrize("began", ["", None, 7, "missing", [1]])
def test_a_dead_holder_without_a_start_is_replaced_at_once(tmp_path: Path, began: object) -> None:
    store = LocalStore(tmp_path)
    found = {**json.loads(dead_here()), "started": began}
    if began == "missing":
        del found["started"]
    store.put("run/lock.json", json.dumps(found).encode())
    with RunLock(store, "run", stale=60):
        assert json.loads(store.get("run/lock.json"))["pid"] == os.getpid()


@pytest.mark.parametrize("began", ["", None, 7, "alive"])
def test_a_number_in_use_whose_start_nobody_wrote_down_is_watched(tmp_path: Path, began) -> None:
    """It may be the holder's, or another's since: only signs of life can tell."""
    store = LocalStore(tmp_path)
    here = {"pid": os.getppid(), "machine": machine(), "started": began}
    store.put("run/lock.json", record(**here))
    started = time.monotonic()
    with RunLock(store, "run", stale=0.3):
        assert time.monotonic() - started >= 0.3
    store.put("run/lock.json", record(**here))
    beat = threading.Timer(0.3, lambda: store.put("run/lock.json", record(**here, time=1)))
    beat.start()
    with (
        pytest.raises(UserError, match=f"process {os.getppid()} .*wait for it or stop it"),
        RunLock(store, "run", stale=5),
    ):
        pass
    beat.join()


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_a_number_that_no_process_has_is_a_dead_holders(tmp_path: Path, pid: int) -> None:
    store = LocalStore(tmp_path)
    store.put("run/lock.json", record(pid=pid, machine=machine(), started="alive"))
    with RunLock(store, "run", stale=60):
        assert json.loads(store.get("run/lock.json"))["pid"] == os.getpid()


def test_of_many_that_find_a_dead_holder_one_takes_over(store) -> None:
    found = dead_here()
    for round in range(5):
        store.put(f"run{round}/lock.json", found)
        barrier, holders, refused = threading.Barrier(6), [], []

        def take(prefix: str, barrier=barrier, holders=holders, refused=refused) -> None:
            lock = RunLock(store, prefix)
            barrier.wait()
            try:
                holders.append(lock.__enter__())
            except UserError as error:
                refused.append(error)

        threads = [threading.Thread(target=take, args=(f"run{round}",)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(holders), len(refused)) == (1, 5)
        holders[0].__exit__(None, None, None)
        assert not store.exists(f"run{round}/lock.json")


def test_a_silent_holder_elsewhere_is_replaced_after_a_while(store, capsys) -> None:
    store.put("run/lock.json", record(time=0))
    started = time.monotonic()
    with RunLock(store, "run", stale=0.4):
        assert json.loads(store.get("run/lock.json"))["pid"] == os.getpid()
    assert time.monotonic() - started >= 0.4
    assert "process 1 on elsewhere" in capsys.readouterr().out


def test_a_holder_elsewhere_that_gives_a_sign_of_life_is_left_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("run/lock.json", record(time=0))
    beat = threading.Timer(0.3, lambda: store.put("run/lock.json", record(time=1)))
    beat.start()
    with pytest.raises(UserError, match="process 1 on elsewhere"), RunLock(store, "run", stale=5):
        pass
    beat.join()
    assert store.get("run/lock.json") == record(time=1)


def test_the_holder_renews_its_lock(store) -> None:
    with RunLock(store, "run", beat=0.05):
        first = store.get("run/lock.json")
        end = time.monotonic() + 10
        while store.get("run/lock.json") == first:
            assert time.monotonic() < end
            time.sleep(0.02)
    assert not store.exists("run/lock.json")


@pytest.mark.parametrize("how", ["taken over", "deleted"])
def test_a_task_that_lost_its_lock_stops_and_leaves_it(tmp_path: Path, how: str) -> None:
    store = LocalStore(tmp_path)

    def write_on() -> None:
        with RunLock(store, "run", beat=0.05):
            if how == "deleted":
                store.delete("run/lock.json")
            else:
                store.put("run/lock.json", record(time=0))
            time.sleep(20)
            raise AssertionError("it went on writing")

    with pytest.raises(UserError, match="lost the lock"):
        write_on()
    if how == "taken over":
        assert store.get("run/lock.json") == record(time=0)


class LosingAnswers:
    """A store on a line that carries each swap there, but only every second answer back."""

    def __init__(self, store: LocalStore) -> None:
        self.store, self.asked, self.lost = store, 0, 0

    def __getattr__(self, name: str):
        return getattr(self.store, name)

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        self.asked += 1
        done = self.store.swap(key, old, new)
        if self.asked % 2 and done:
            self.lost += 1
            raise UserError("the line is dead")
        return done


def test_a_sign_of_life_whose_answer_was_lost_is_no_loss_of_the_lock(tmp_path: Path) -> None:
    store = LosingAnswers(LocalStore(tmp_path))
    with RunLock(store, "run", beat=0.02):
        end = time.monotonic() + 20
        while store.lost < 3:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert not store.exists("run/lock.json")


def test_a_lock_is_given_back_though_the_last_answer_was_lost(tmp_path: Path) -> None:
    """Else this process, which lives, would be turned away by itself."""
    store = LosingAnswers(LocalStore(tmp_path))
    lock = RunLock(store, "run", beat=3600)
    with lock, pytest.raises(UserError, match="dead"):
        lock._renew()
    assert not store.exists("run/lock.json")
    with RunLock(store, "run"):
        pass


def test_a_task_that_fails_gives_its_lock_back_and_says_why(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(RuntimeError, match="its own"), RunLock(store, "run"):
        raise RuntimeError("its own")
    assert not store.exists("run/lock.json")


def test_a_lock_that_is_anothers_by_now_is_not_given_back(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with RunLock(store, "run", beat=3600):
        store.put("run/lock.json", record(time=1))  # before a beat has told
    assert store.get("run/lock.json") == record(time=1)


def test_what_the_alarm_did_before_it_does_again(tmp_path: Path) -> None:
    def ours(number: int, frame: object) -> None: ...

    before = signal.signal(ALARM, ours)
    try:
        with RunLock(LocalStore(tmp_path), "run"):
            assert signal.getsignal(ALARM) is not ours
        assert signal.getsignal(ALARM) is ours
    finally:
        signal.signal(ALARM, before)


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="only /proc tells")
def test_processes_are_told_apart_by_their_start_and_a_zombie_has_ended() -> None:
    time.sleep(0.05)  # the kernel counts in hundredths
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        began = process_start(child.pid)
        assert began == process_start(child.pid)
        assert int(began) > int(process_start(os.getpid()))
        child.stdin.close()  # type: ignore[union-attr]
        end = time.monotonic() + 20
        while process_start(child.pid):  # nobody has waited for it: it is a zombie by then
            assert time.monotonic() < end
            time.sleep(0.01)
        assert Path(f"/proc/{child.pid}").exists()
    finally:
        child.kill()
        child.wait()


def test_another_boot_or_container_of_the_same_host_is_another_machine(monkeypatch) -> None:
    here = machine()
    opened = open

    def rebooted(path, *arguments, **named):
        if str(path).endswith("boot_id"):
            return io.StringIO("another")
        return opened(path, *arguments, **named)

    monkeypatch.setattr("builtins.open", rebooted)
    assert machine() != here
    monkeypatch.setattr("builtins.open", opened)
    stat = os.stat
    apart = lambda p, **k: SimpleNamespace(st_ino=1) if p == "/proc/self/ns/pid" else stat(p, **k)  # noqa: E731
    monkeypatch.setattr(os, "stat", apart)
    assert machine() != here
