"""Low-rank adapters on one GPU of 24 GB, the teacher at an address.

    zppo plan --scale 4B@lora-24gb --estimate       # memory, before anything is fetched
    python examples/lora_24gb.py --teacher 'http://HOST:8000/v1#Qwen/Qwen3.5-27B-FP8'
    python examples/lora_24gb.py --scale nano       # the same on a CPU, with the nano models

What to expect: `plan` prints the memory that the estimate wants of a student's GPU. A run says how
many weights learn; the others keep their values. The checkpoint holds the merged student, an
ordinary Hugging Face folder, so nothing that reads it has to know of adapters. Adapters want a
larger learning rate than full weights: 1e-5 here against 1e-6. Only the third line has been run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import zppo_core as zppo
from eval.pipeline import Trained


def main(arguments: Sequence[str] | None = None) -> Trained:
    """Train adapters of rank 16 and file the merged student."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--scale", default="4B@lora-24gb")
    reader.add_argument("--teacher", default="", help="http://HOST:PORT/v1#MODEL")
    reader.add_argument("--rank", type=int, default=16)
    reader.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    given = reader.parse_args(arguments)
    rate = [] if given.scale == "nano" else ["optimizer.lr=1e-5"]
    sets = [f"trainer.lora_rank={given.rank}", *rate, *given.set]
    result = zppo.train(
        zppo.load_config(given.scale, sets), teacher=given.teacher, name="lora-24gb"
    )
    print(result.accuracy, result.checkpoint)
    return result


if __name__ == "__main__":
    main()
