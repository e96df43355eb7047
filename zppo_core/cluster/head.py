"""The head of a run's Ray: who notices that it is gone, and says so.

Without its head Ray ends this process after a minute (`RAY_gcs_rpc_server_reconnect_timeout_s`),
wherever that is and without a line of ours. So a thread knocks at the head's port and is first.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray

EVERY = 2.0  # seconds between two knocks, and for an answer
GONE = 30.0  # seconds without an answer after which the head is gone: half of what Ray waits


class HeadWatch:
    """Ends this process with one line and exit code 1 when its Ray's head is gone.

    No exception: whoever waits for Ray waits in its own code, and so would what ends a cluster.
    Records are written as units that exist wholly or not at all, so that nothing is lost.
    """

    def __init__(self) -> None:
        self._address = head_address()
        self._end = threading.Event()
        threading.Thread(target=self._watch, name="head", daemon=True).start()

    def stop(self) -> None:
        """The Ray may go."""
        self._end.set()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._end.wait(EVERY):
            why = unanswered(self._address)
            if not why:
                answered = time.monotonic()
            elif time.monotonic() - answered >= GONE and not self._end.is_set():
                print(of_head(self._address, why), file=sys.stderr, flush=True)
                os._exit(1)


def head_address() -> str:
    """Host and port of the head of this process's Ray."""
    address: str = ray.get_runtime_context().gcs_address
    return address


def unanswered(address: str) -> str:
    """Why nobody answers at the head's address; empty if it does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), EVERY).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def of_head(address: str, why: str) -> str:
    """One line on a head that is gone."""
    ending = last_error("gcs_server.err")
    return (
        f"the head of Ray at {address} died ({why}{'; ' if ending else ''}{ending}); start it "
        "again, then resume goes on at the last phase"
    )


def last_error(files: str) -> str:
    """The last line with an error in such `files` of this node's Ray, if there is one."""
    node: Any = ray._private.worker._global_node
    logs = Path(node.get_logs_dir_path())
    lines = [
        line.strip()
        for path in logs.glob(files)
        for line in path.read_text(errors="replace")[-20_000:].splitlines()
        if "Error" in line
    ]
    return lines[-1][:300] if lines else ""
