"""Nothing that a run starts can be reached from another machine, unless it asks for a key."""

from __future__ import annotations

from listeners import no_stranger, outer
from test_sharded import groups, remote


def test_no_stranger_reaches_the_ranks_of_an_update(monkeypatch) -> None:
    interface, address = outer()
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # as a cluster's shell has them
        monkeypatch.setenv(name, interface)
    trainer = remote(2, 2)
    try:
        trainer.update(groups(0))
        no_stranger(trainer._process.pid, address)
    finally:
        trainer.close()
