"""What keeps the sockets of gloo, NCCL and vLLM on this host: variables that they read.

Without them each binds to the interface that the host's name or a variable of the shell names, and
then anyone on the network reaches it; none of them asks for a key.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "127.0.0.1"
INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
LOOPBACK = {
    **dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME"), INTERFACE),
    "VLLM_HOST_IP": ADDRESS,
    "VLLM_LOOPBACK_IP": ADDRESS,
}


@contextmanager
def on_loopback() -> Iterator[None]:
    """Sockets opened inside, here or in processes started here, are bound to this host alone.

    The variables are as before afterwards: ranks of several hosts need the network.
    """
    before = {name: os.environ.get(name) for name in LOOPBACK}
    os.environ |= LOOPBACK
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
