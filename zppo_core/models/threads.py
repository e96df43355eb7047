"""Torch's threads: fixed, so that sums are taken in the same order in every task."""

from __future__ import annotations

import os

from zppo_core.config import Config


def set_threads(config: Config, alone: bool = True) -> None:
    """Fix torch's thread count, so that sums are taken in the same order in every task.

    Tasks that are not `alone`, as in a foreach, take one thread each on a CPU.
    """
    import torch

    shared = config.compute.device == "cpu" and not alone
    torch.set_num_threads(1 if shared else config.compute.threads or os.cpu_count() or 1)
