"""Nothing that a run starts can be reached from another machine, unless it asks for a key."""

from __future__ import annotations

import os

from listeners import no_stranger, outer
from test_sharded import groups, remote


def test_no_stranger_reaches_the_ranks_of_an_update_nor_their_ray() -> None:
    """All descend from this process: head, raylet, agents, ranks with gloo's sockets."""
    _, address = outer()
    trainer = remote(2, 2)
    trainer.update(groups(0))
    assert len(no_stranger(os.getpid(), address)) > 6
