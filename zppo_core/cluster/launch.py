"""Starts the update's ranks of one host and ends them together.

    zppo launch --processes 6
    zppo launch --processes 6 --hosts 2 --host 1 --master HOST:29500

On one host the ranks meet in a file of a folder that nobody else can read, and their sockets are
bound to the loopback interface: nothing can be reached from outside. Over several hosts rank 0
listens on the master's port for the ranks' addresses, which are bytes and never unpickled. Neither
that nor the ranks' own traffic is authenticated, so such hosts must share a trusted network.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zppo_core.processes.command_line import command, reported
from zppo_core.processes.loopback import LOOPBACK

WORKER = "zppo_core.cluster.worker"
MEETING = "ZPPO_MEETING"  # the file in which the ranks of a single host meet
GRACE = 30.0  # seconds that a rank has to end by itself


@dataclass(frozen=True)
class Ranks:
    """The ranks of host number `host`: `processes` of `processes * hosts`."""

    processes: int
    hosts: int = 1
    host: int = 0
    master: str = ""  # host:port where they meet; of one host: nowhere

    def number(self, local: int) -> int:
        """The rank, over all hosts, of this host's number `local`."""
        return self.host * self.processes + local

    def environment(self, local: int, folder: str) -> dict[str, str]:
        """What rank number `local` of this host is told."""
        about = {
            "RANK": self.number(local),
            "LOCAL_RANK": local,
            "WORLD_SIZE": self.processes * self.hosts,
            "LOCAL_WORLD_SIZE": self.processes,
            "GROUP_RANK": self.host,
        }
        own = os.environ | {name: str(value) for name, value in about.items()}
        if self.hosts == 1:
            return own | {MEETING: os.path.join(folder, "meeting")} | LOOPBACK
        address, _, port = self.master.rpartition(":")
        return own | {"MASTER_ADDR": address, "MASTER_PORT": port}


def serve(ranks: Ranks) -> int:
    """Run all ranks of this host until they end; 0 if all ended well.

    When one fails, or this process is told to end, the others are ended too: they would wait for it
    and keep their GPUs.
    """
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    with tempfile.TemporaryDirectory(prefix="zppo-ranks-") as folder:
        processes = [
            subprocess.Popen([sys.executable, "-m", WORKER], env=ranks.environment(i, folder))
            for i in range(ranks.processes)
        ]
        try:
            while True:
                codes = [p.poll() for p in processes]
                failed = next((i for i, code in enumerate(codes) if code), None)
                if failed is not None:
                    print(ended(ranks.number(failed), codes[failed] or 0), flush=True)
                if stopping or failed is not None:
                    return 1
                if all(code == 0 for code in codes):
                    return 0
                time.sleep(0.1)
        finally:
            end(processes)


def ended(rank: int, code: int) -> str:
    """How a rank ended, as `RemoteTrainer` looks for it in the log."""
    if code >= 0:
        return f"rank {rank} ended with exit code {code}"
    return f"rank {rank} ended by {signal.Signals(-code).name}"


def end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Terminate what still runs, and kill what has not ended after `GRACE` seconds."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code of `serve`."""
    parser = command("launch", __doc__ or "", "zppo launch --processes 6")
    parser.add_argument("--processes", type=int, required=True, help="ranks on each host")
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--host", type=int, default=0, help="number of this host")
    parser.add_argument("--master", default="", help="host:port of the first host")
    asked = parser.parse_args(arguments)
    return serve(Ranks(asked.processes, asked.hosts, asked.host, asked.master))


if __name__ == "__main__":
    sys.exit(main())
