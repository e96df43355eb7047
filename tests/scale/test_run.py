"""A run whose update has two ranks, from its start to its checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import ranks

sys.path.append(str(Path(__file__).parents[1] / "extension"))

from short_run import rows, short_run

from zppo_core.store.checkpoint import latest_checkpoint


def test_a_run_on_two_ranks_takes_its_step_and_each_writes_its_part(tmp_path) -> None:
    ranks.start()
    run = short_run(tmp_path, compute__update_processes=2, optimizer__updates=2)
    updates = rows(run, "update", "updates")
    assert len(updates) == 2
    assert all(u["grad_norm"] > 0 for u in updates)
    found = latest_checkpoint(run.store, run.key)
    assert found is not None
    names = [name for name in found.files() if name.startswith("optimizer")]
    assert names == [
        "optimizer-1-of-2.safetensors",
        "optimizer-2-of-2.safetensors",
        "optimizer.json",
    ]
