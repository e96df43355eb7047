"""Rollouts on several hosts: two launchers on this machine stand for them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from zppo_core.cluster import listener as connections
from zppo_core.cluster.host import (
    HostEngine,
    completions_of,
    pack_completions,
    pack_prompts,
    prompts_of,
    serve,
)
from zppo_core.cluster.listener import KEEPALIVE, Door, connect
from zppo_core.cluster.messages import unpack
from zppo_core.cluster.remote import workers_of as workers
from zppo_core.config import Config, load
from zppo_core.engines.pool import EnginePool
from zppo_core.errors import UserError
from zppo_core.protocols import Sampling
from zppo_core.run.session import Session, open_session
from zppo_core.store.objects import open_store
from zppo_core.training.deepspeed import PATIENCE, join, meeting
from zppo_core.types import Completion, Prompt

ROOT = Path(__file__).resolve().parents[2]
GREEDY = Sampling(max_tokens=12, n=2, temperature=0.0)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def two_hosts(*more: str) -> Config:
    return load(
        "nano",
        [
            "compute.update_hosts=2",
            "compute.update_processes=1",
            "compute.threads=1",
            f"compute.rendezvous=127.0.0.1:{free_port()}",
            "data.train_questions=8",
            "optimizer.lr=0.01",
            *more,
        ],
    )


@contextlib.contextmanager
def second_host(config: Config) -> Iterator[subprocess.Popen[bytes]]:
    """The line that the flow prints for host 1, run as it stands."""
    found = workers(config)
    assert found is not None
    words = shlex.split(found.elsewhere(1).replace(" python ", f" {sys.executable} "))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(["env", *words], cwd=ROOT, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(built: Session, engine: Any, version: int) -> list[list[list[int]]]:
    asked = [built.corpus[q] for q in built.corpus.new_ids(0, 5)]
    prompts = [Prompt(q.text, q.images) for q in asked]
    outputs = engine.generate(prompts, GREEDY, list(range(5)))
    assert {c.version for group in outputs for c in group} == {version}
    return [[c.token_ids_T.tolist() for c in group] for group in outputs]


@pytest.mark.parametrize("more", [(), ("trainer.lora_rank=4", "optimizer.lr=0.1")])
def test_rollouts_of_two_hosts_are_those_of_one_before_and_after_an_update(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    import world as helper

    config, store = two_hosts(*more), open_store(str(tmp_path))
    with second_host(config) as other:
        built = open_session(config, store, lambda phase: lambda done, all_: None)
        try:
            for role in (built.roles.student, *built.roles.teachers):
                pool = role.inner
                assert isinstance(pool, EnginePool)
                assert isinstance(pool.engines[1], HostEngine)
                here, there = pool.engines
                assert there.host == 1
                built.sync()
                # host 1 alone, and its share of a batch, say what this host does
                expected = ask(built, here, 0)
                assert ask(built, there, 0) == expected == ask(built, pool, 0)
            pool = built.roles.student.inner
            before = ask(built, pool, 0)
            groups = helper.groups(helper.prompts(4, 2, 1), [2, 1, 4, 3, 2, 1, 2], 0)
            for _ in range(3):
                built.trainer.update(groups)
            built.state.step = 1
            built.sync()
            after = ask(built, pool.engines[1], 1)
            assert after == ask(built, pool.engines[0], 1)
            assert after != before, "the update changed nothing: the test shows nothing"

            children = psutil.Process(other.pid).children(recursive=True)
            programs = [c for c in children if "zppo_core.cluster.engine_process" in c.cmdline()]
            assert len(programs) == 1
            folder = Path(programs[0].environ()["ZPPO_WEIGHTS"]).parent
            assert folder.is_dir()
            programs[0].kill()
            with pytest.raises(UserError, match=r"host 1 went away .*resume"):
                ask(built, pool, 1)
        finally:
            built.close()
        other.wait(60)
        assert not folder.exists()
        assert not [
            c for c in psutil.process_iter() if "zppo_core.cluster.engine_process" in _words(c)
        ]


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


class Broken:
    name, version, slept = "broken", 0, 0

    def generate(self, *_: Any) -> Any:
        raise ValueError("no such token\nand more")

    def load_weights(self, weights: Any, version: int) -> None:
        self.loaded, self.version = weights, version

    def sleep(self) -> None:
        self.slept += 1


def test_a_fault_there_is_one_line_here_and_commands_arrive() -> None:
    here, there = Pipe()
    engine = Broken()
    thread = threading.Thread(target=serve, args=(engine, there, lambda: {"w": 1}))
    thread.start()
    host = HostEngine(here, 3, "broken", 0)
    with pytest.raises(UserError, match=r"^host 3: ValueError: no such token$"):
        host.generate([Prompt("?")], GREEDY, [0])
    host.load_weights({}, 7)
    host.sleep()
    assert (engine.loaded, engine.version, engine.slept, host.version) == ({"w": 1}, 7, 1, 7)
    assert host.generate([], GREEDY, []) == []
    host.close()
    thread.join(10)
    assert not thread.is_alive(), "the server outlives the step"


def test_prompts_and_completions_survive_the_way() -> None:
    prompts = [
        Prompt("a", (b"\x89PNG", b"\x00\xff"), True, (("q", "r"),), (4, 5)),
        Prompt("ü\n", ()),
    ]
    assert prompts_of(*unpack(pack_prompts({"seeds": [1]}, prompts))) == prompts
    ids, logp = np.array([1, 2], np.int32), np.array([0.0, -1.5], np.float32)
    sent = [
        Completion("x", ids, logp, "stop", 3, 1),
        Completion("", ids[:0], logp[:0], "length", 3),
    ]
    for a, b in zip(sent, completions_of(*unpack(pack_completions(sent))), strict=True):
        assert (a.text, a.finish, a.version, a.forced) == (b.text, b.finish, b.version, b.forced)
        for name in ("token_ids_T", "logp_T"):
            x, y = getattr(a, name), getattr(b, name)
            assert x.dtype == y.dtype
            assert np.array_equal(x, y)


def test_who_does_not_know_the_key_stays_out() -> None:
    door = Door()
    refused: list[Exception] = []

    def stranger() -> None:
        try:
            connect(door.address, b"wrong")
        except Exception as error:
            refused.append(error)
        connect(door.address, door.key)

    thread = threading.Thread(target=stranger)
    thread.start()
    assert len(door.accept(1, 10, lambda: True)) == 1
    thread.join()
    assert len(refused) == 1
    assert door.accept(1, 0.1, lambda: True) == []
    assert door.accept(1, 60, lambda: False) == []
    door.close()


def test_strangers_neither_end_the_door_nor_keep_others_waiting(capsys) -> None:
    """A scanner on all addresses: one that says nothing, one that speaks HTTP, one that leaves."""
    door = Door()
    place = ("127.0.0.1", int(door.address.rpartition(":")[2]))
    with socket.create_connection(place), socket.create_connection(place, 10) as http:
        http.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while http.recv(256):  # until the door has hung up
                pass
        socket.create_connection(place).close()
        connecting = threading.Thread(target=connect, args=(door.address, door.key), daemon=True)
        connecting.start()
        assert len(door.accept(1, 10, lambda: True)) == 1
        connecting.join(10)
        assert not connecting.is_alive()
    said = capsys.readouterr().out
    assert "turned away 1 connections" in said
    assert "127.0.0.1 (bad message length)" in said
    assert door.refused >= 1
    door.close()


def test_a_silent_stranger_is_hung_up_on(monkeypatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE", 0.3)
    door = Door()
    place = ("127.0.0.1", int(door.address.rpartition(":")[2]))
    with socket.create_connection(place, timeout=10) as silent:
        while silent.recv(256):  # its challenge, then the end
            pass
    assert door.refused == 1
    here, there = [], threading.Thread(target=lambda: here.append(connect(door.address, door.key)))
    there.start()
    (found,) = door.accept(1, 10, lambda: True)
    there.join()
    threading.Timer(0.6, lambda: here[0].send_bytes(b"late")).start()
    assert found.recv_bytes() == b"late"  # the limit was the handshake's alone
    door.close()


def test_strangers_who_say_nothing_take_only_so_many_places(monkeypatch) -> None:
    monkeypatch.setattr(connections, "GREETED", 2)
    door = Door()
    place = ("127.0.0.1", int(door.address.rpartition(":")[2]))
    with contextlib.ExitStack() as held:
        silent = [held.enter_context(socket.create_connection(place, 10)) for _ in range(2)]
        for line in silent:
            assert line.recv(4)  # a challenge each: both are being greeted
        with socket.create_connection(place, 10) as third:
            assert third.recv(256) == b""  # hung up on at once, without a challenge
    assert door.refused >= 1
    door.close()


def test_who_comes_in_unasked_waits_for_the_next_question_or_is_let_go() -> None:
    door, inside = Door(), []

    def come() -> None:
        coming = threading.Thread(
            target=lambda: inside.append(connect(door.address, door.key)), daemon=True
        )
        coming.start()
        coming.join(10)
        assert not coming.is_alive()

    come()
    assert door.accept(0, 10, lambda: True) == []
    assert len(door.accept(1, 10, lambda: True)) == 1
    come()
    door.close()
    assert inside[1].poll(10)
    with pytest.raises((EOFError, ConnectionError)):
        inside[1].recv_bytes()


def test_hosts_are_told_the_name_that_was_given_and_a_dead_line_is_noticed() -> None:
    """A host may know its own name by a loopback address, as Debian's do."""
    name = "localhost"
    door = Door(name)
    host, _, port = door.address.rpartition(":")
    assert host == name
    thread = threading.Thread(target=lambda: connect(f"127.0.0.2:{port}", door.key))
    thread.start()  # another address of this host than the name's
    (found,) = door.accept(1, 10, lambda: True)
    thread.join()
    door.close()
    with socket.socket(fileno=os.dup(found.fileno())) as line:
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        seconds = [line.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n, _ in KEEPALIVE]
    assert seconds[0] + seconds[1] * seconds[2] <= 300
    own = Door()
    assert own.address.startswith("127.0.0.1:")  # this host's own processes alone
    own.close()


@pytest.mark.parametrize("rank", [0, 7])
def test_a_rank_takes_the_gpu_of_its_place_on_its_host(rank: int, monkeypatch, tmp_path) -> None:
    """On the second host of 6 student's GPUs rank 7 is the second: 6 and 7 are the teacher's."""
    import deepspeed

    done: list[object] = []
    monkeypatch.setenv("LOCAL_RANK", str(rank % 6))
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "12")
    monkeypatch.setenv("ZPPO_MEETING", str(tmp_path / "meeting"))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: done.append("in"))
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(deepspeed, "init_distributed", lambda **_: done.append("met"))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    assert join("nccl", "cuda") == rank
    assert done == [rank % 6, "in", "met"]  # before: the group is bound to the device


def test_hosts_wait_for_the_first_while_it_loads_its_models(monkeypatch) -> None:
    """Six vLLM engines take longer than the minutes that torch would wait by itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.delenv("ZPPO_MEETING", raising=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    assert meeting(0, 1).timeout == timedelta(seconds=PATIENCE)
    assert PATIENCE >= 3600
