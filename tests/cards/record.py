"""Records the run that the card tests draw: python tests/cards/record.py

Trains a small zppo run at scale nano with its evaluation, and packs its journal beside this file.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
RECORDING = HERE / "journal.tar.xz"
KEY = "recorded"
SETS = {
    "run.rollout_steps": 8,
    "run.steps_per_task": 8,
    "data.train_questions": 192,
    "rollout.new_prompts": 8,
    "rollout.group_size": 4,
    "optimizer.updates": 2,
    "evaluation.suite": "nano",
    "evaluation.limit": 6,
    "compute.threads": 2,
    "compute.workers": 0,
    "trainer.token_budget": 16_384,
}


def main() -> None:
    """Run it, and write `journal.tar.xz`."""
    sys.path.insert(0, str(HERE.parent / "reliability"))
    from whole_run import SMALL, concluded, opened, trained

    kept = {k: v for k, v in SMALL.items() if k.startswith(("reformulation", "replay", "teacher"))}
    with tempfile.TemporaryDirectory() as folder:
        SMALL.clear()
        SMALL.update(kept | SETS)
        run = opened(Path(folder), name=KEY)
        trained(run)
        concluded(run)
        journal = Path(folder) / "runs" / KEY / "journal"
        files = [path for path in journal.rglob("*") if path.is_file()]
        with tarfile.open(RECORDING, "w:xz") as pack:  # alike beside alike: a quarter of the size
            for path in sorted(files, key=lambda p: (p.name, str(p))):
                pack.add(path, str(path.relative_to(journal)))


if __name__ == "__main__":
    main()
