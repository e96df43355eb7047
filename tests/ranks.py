"""Update ranks that several tests use one after another: each builds its own trainer on them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from zppo_core import models
from zppo_core.cluster.connect import connect, prepare
from zppo_core.cluster.layout import Workers
from zppo_core.config import load

# before Ray is imported; a dead node is noticed in seconds and not in half a minute
prepare(load("nano"))
os.environ |= {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "8"}

from zppo_core.cluster.cluster import Cluster  # noqa: E402
from zppo_core.cluster.remote import RemoteTrainer  # noqa: E402

CPUS = 8  # of the Ray: several groups of ranks live at a time
_alive: dict[int, Cluster] = {}


def start() -> None:
    """Start the Ray of all tests, if it does not run."""
    connect(load("nano"), Workers(CPUS))


def fresh(processes: int) -> Cluster:
    """Ranks of the caller's own, on the Ray of all."""
    config = load("nano", [f"compute.update_processes={processes}"])
    start()
    return Cluster(config, Workers(processes))


def shared(processes: int) -> Cluster:
    """Ranks that live on; another group if these were killed."""
    if processes not in _alive:
        _alive[processes] = fresh(processes)
    return _alive[processes]


def end() -> None:
    """End all that is alive."""
    for cluster in _alive.values():
        cluster.close()
    _alive.clear()


def remote(
    processes: int,
    *settings: Any,
    stage: int = 2,
    offload: bool = False,
    dtype: torch.dtype = torch.float32,
    cluster: Cluster | None = None,
    **named: Any,
) -> RemoteTrainer:
    """A trainer of the nano student on so many ranks."""
    cluster = cluster or shared(processes)
    cluster.workers = replace(cluster.workers, stage=stage, offload=offload)
    model, _ = models.load("nano:student", dtype)
    return RemoteTrainer(model, "nano:student", cluster, *settings, **named)
