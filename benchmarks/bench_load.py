"""What a busy machine and foreign settings of threads cost: seconds of a nano rollout step.

python benchmarks/bench_load.py [--steps 4] [--only "quiet;one busy neighbour"]

Each row is a run in a process of its own, one after the other: its first step is not timed, then
the mean of the next ones. A neighbour is a process that is always busy, in a session of its own as
another login has it. `as it is` leaves the environment alone, as before decision 0054. The hash is
of the weights after the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Row:
    """One setting: workers, environment, cores, busy neighbours, runs at once."""

    name: str
    workers: int = 2  # nano's own number; 0: threads
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: str = ""  # of taskset; empty: all
    neighbours: int = 0
    runs: int = 1
    as_it_is: bool = False


ROWS = (
    Row("quiet"),
    Row("one busy neighbour", neighbours=1),
    Row("OMP_NUM_THREADS=1", environment={"OMP_NUM_THREADS": "1"}),
    Row("OMP_NUM_THREADS=1, as it is", environment={"OMP_NUM_THREADS": "1"}, as_it_is=True),
    Row("OMP_NUM_THREADS=64", environment={"OMP_NUM_THREADS": "64"}),
    Row("taskset of one core", cores="0"),
    Row("one worker", workers=1),
    Row("one worker, one busy neighbour", workers=1, neighbours=1),
    Row("three workers", workers=3),
    Row("three workers, one busy neighbour", workers=3, neighbours=1),
    Row("threads", workers=0),
    Row("threads, one busy neighbour", workers=0, neighbours=1),
    Row("two runs of one worker, for each", workers=1, runs=2),
)


def steps(count: int, workers: int, as_it_is: bool) -> dict[str, float | str]:
    """Rollout steps of nano in this process: mean seconds of all but the first, weight hash."""
    if not as_it_is:
        from zppo_core.processes.startup import prepare_environment

        prepare_environment()
    from zppo_core.config import load
    from zppo_core.models.weights import weight_hash
    from zppo_core.run.loop import one_step
    from zppo_core.run.session import open_session
    from zppo_core.run.setup import open_run
    from zppo_core.store.objects import open_store

    with tempfile.TemporaryDirectory() as folder:
        places = [f"store.root={folder}/runs", f"store.cache={folder}/cache"]
        config = load("nano", [*places, f"compute.workers={workers}"])
        run = open_run(config, "load")
        session = open_session(config, open_store(f"{folder}/cache"), lambda _: lambda *_: None)
        seconds = []
        for _ in range(count + 1):
            began = time.perf_counter()
            one_step(session, run)
            seconds.append(time.perf_counter() - began)
        digest = weight_hash(session.model.state_dict().items())
        session.close()
    return {"seconds": sum(seconds[1:]) / count, "hash": digest[:12]}


def measured(row: Row, count: int) -> list[dict[str, float | str]]:
    """The runs of a row, at once."""
    environment = {**os.environ, "GOMP_SPINCOUNT": "100", **row.environment}
    command = [sys.executable, __file__, "--child", str(count), "--workers", str(row.workers)]
    command = ["taskset", "-c", row.cores, *command] if row.cores else command
    command += ["--as-it-is"] if row.as_it_is else []
    with ExitStack() as stack:
        for _ in range(row.neighbours):
            busy = [sys.executable, "-c", "while True: pass"]
            neighbour = subprocess.Popen(busy, start_new_session=True)
            stack.callback(neighbour.wait)
            stack.callback(neighbour.kill)
        runs = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(row.runs)
        ]
        said = [run.communicate()[0] for run in runs]
    return [json.loads(text.splitlines()[-1]) for text in said]


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", default="", help="rows whose names begin so, with semicolons")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--as-it-is", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(steps(options.child, options.workers, options.as_it_is)))
        return
    wanted = tuple(options.only.split(";"))
    print("| setting | s a step | of quiet | weights |\n| --- | --- | --- | --- |")
    quiet = 0.0
    for row in ROWS:
        if not row.name.startswith(wanted):
            continue
        runs = measured(row, options.steps)
        seconds = max(float(run["seconds"]) for run in runs) / row.runs
        quiet = quiet or seconds
        hashes = ", ".join(sorted({str(run["hash"]) for run in runs}))
        print(f"| {row.name} | {seconds:.2f} | {seconds / quiet:.2f} | {hashes} |", flush=True)


if __name__ == "__main__":
    main()
