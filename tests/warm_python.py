"""A Python that has its heavy imports behind it: each script is a fork of one server.

`WarmPython(folder).path` takes the place of `sys.executable` where a test starts a flow. Metaflow
starts each task and each card with the same program. What it is: a client of a few milliseconds,
which hands its arguments, environment, folder and files to the server. Only packages of others are
imported beforehand, Metaflow is not: a fork reads our code and its environment as a new process
does. What is neither a script nor a module (`-c`) goes to the real Python.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from heavy import import_heavy

CLIENT = """#!{python} -IS
import array, json, os, socket, sys
given = sys.argv[1:]
script = [a for a in given[:2] if a != "-u"][:1]
if not script or script[0].startswith("-") and script[0] != "-m":
    os.execv({real!r}, [{real!r}, *given])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([given[given.index(script[0]):], dict(os.environ), os.getcwd()]).encode()
files = array.array("i", [0, 1, 2])
server.sendmsg([b"%d\\n" % len(asked)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
server.sendall(asked)
code = int(server.recv(16) or b"-9")
if code < 0:
    import signal
    signal.signal(-code, signal.SIG_DFL) if code != -9 else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class WarmPython:
    """The server, and the program `path` that asks it; ends with `close`."""

    def __init__(self, folder: Path) -> None:
        address = folder / "warm.sock"
        offline = os.environ | {"HF_HUB_OFFLINE": "1"}  # the hub's client reads it at its import
        self.server = subprocess.Popen([sys.executable, __file__, str(address)], env=offline)
        self.path = str(folder / "python")
        # the system's own Python starts as the client: the environment's needs a folder beside it
        text = CLIENT.format(
            python=os.path.realpath(sys.executable), real=sys.executable, address=str(address)
        )
        Path(self.path).write_text(text)
        Path(self.path).chmod(0o755)
        end = time.monotonic() + 120
        while not address.exists():
            if self.server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no server of forks: status {self.server.poll()}")
            time.sleep(0.05)

    def close(self) -> None:
        """End the server; what it has forked ends by itself."""
        self.server.terminate()
        self.server.wait()


def serve(address: str) -> None:
    """Fork for each client, for ever; the parent's death is the end."""
    import_heavy()
    gc.freeze()  # a fork need not look through what is here, nor copy it
    program = str(Path(address).with_name("python"))
    parent = os.getppid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen(64)
    os.rename(address + ".new", address)
    listener.settimeout(5.0)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # ends a wait, so that the dead are reaped
    while os.getppid() == parent:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            client = None
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if client is None:
            continue
        client.setblocking(True)
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            attend(client, program)
        client.close()


def attend(client: socket.socket, program: str) -> None:
    """Run what a client asks in a fork; end it if the client dies, else say its status."""
    head, files, *_ = socket.recv_fds(client, 1 << 16, 3)
    size, _, body = head.partition(b"\n")
    while len(body) < int(size):
        body += client.recv(1 << 20)
    arguments, environment, folder = json.loads(body)
    child = os.fork()
    if child == 0:
        client.close()
        os._exit(run(arguments, environment, folder, files, program))
    for file in files:
        os.close(file)
    end = os.pidfd_open(child)
    ready, *_ = select.select([client, end], [], [])
    if end not in ready:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(str(status).encode())
    os._exit(0)


def run(
    arguments: list[str], environment: dict[str, str], folder: str, files: list[int], program: str
) -> int:
    """Exit status of a script or module in this process, which takes a client's place."""
    import atexit
    import runpy
    import traceback

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, mode, closefd=False), "utf-8", line_buffering=True)
        for number, mode in enumerate("rww")
    )
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    random.seed()
    module = arguments[0] == "-m"
    script = arguments[1] if module else os.path.abspath(arguments[0])
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:1] = [folder if module else os.path.dirname(script), *paths]
    sys.argv, sys.executable = [script, *arguments[1 + module :]], program
    code = 0
    try:
        if any(os.path.exists(os.path.join(p, "sitecustomize.py")) for p in paths):
            sys.modules.pop("sitecustomize", None)
            importlib.import_module("sitecustomize")
        if module:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1])
