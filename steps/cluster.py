"""The `train` step of flows/hosts_flow.py: one task on each host, as Metaflow starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Protocol

from steps.cards.page import Card
from steps.epoch import epoch
from zppo_core.cluster.remote import workers_of
from zppo_core.errors import UserError
from zppo_core.run.spec import Artifact, Run
from zppo_core.store.checkpoint import latest_checkpoint

PORT = 29_500  # of the first host, where the workers meet


class Node(Protocol):
    """Metaflow's `current.parallel`."""

    main_ip: str
    num_nodes: int
    node_index: int


def train(setup: Artifact, node: Node, card: Card | None = None) -> int:
    """Take the run to its last rollout step, together with the tasks of the other hosts.

    Returns the steps done. UserError on a further host if its workers fail: the whole step then
    ends and `resume` goes on at the phase that was lost.
    """
    meeting = f"{node.main_ip}:{int(os.environ.get('ZPPO_PORT', PORT))}"
    if node.node_index > 0:
        return assist(Run.of(setup), node.node_index, meeting)
    done = 0
    while done < setup["rollout_steps"]:
        done = epoch(setup, done, card, rendezvous=meeting, fresh=done == 0)
    return done


def assist(run: Run, host: int, meeting: str) -> int:
    """Run this host's workers again and again until the last checkpoint is written."""
    workers = workers_of(run.config, meeting)
    if workers is None:
        raise UserError("one host trains alone; use flows/zppo_flow.py")
    environment = os.environ | {
        "ZPPO_BACKEND": workers.backend,
        "ZPPO_DEVICE": workers.device,
        "OMP_NUM_THREADS": str(workers.threads),
        "DS_ACCELERATOR": workers.device,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    while True:
        found = latest_checkpoint(run.store, run.key)
        if found is not None and found.step >= run.rollout_steps:
            return found.step
        code = subprocess.run(
            [sys.executable, *workers.command(host)], env=environment, check=False
        ).returncode
        if code:
            raise UserError(f"host {host}: its update workers ended with {code}; resume the flow")
