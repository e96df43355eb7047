"""Advances a run over and over, each time killed at its first commit, until it is done.

python kill_zygote.py ROOT NAME kill|whole: prints the number of processes and the weight hash.
The heavy imports happen once; every run is a fork that is killed by SIGKILL.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from heavy import import_heavy

from zppo_core import models  # noqa: F401 - imported before the forks
from zppo_core.config import load
from zppo_core.engines import hf  # noqa: F401
from zppo_core.models.weights import weight_hash
from zppo_core.run.loop import advance
from zppo_core.run.setup import open_run
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.training import updater  # noqa: F401

SMALL = (
    "run.rollout_steps=3;run.steps_per_task=3;data.train_questions=24;rollout.new_prompts=8;"
    "rollout.group_size=4;rollout.max_tokens=32;reformulation.ratio=0.5;replay.ratio=0.5;"
    "store.checkpoint_every=2;optimizer.updates=2;compute.threads=1"
)


def forked(work) -> int:
    """Exit status of `work` in a fork; minus the signal if it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def final_hash(run: Run) -> str:
    from safetensors.torch import load as load_weights

    found = latest_checkpoint(run.store, run.key)
    assert found is not None
    assert found.step == 3
    return weight_hash(load_weights(found.read("student/model.safetensors")).items())


def main(root: str, name: str, how: str) -> None:
    sets = (
        f"{SMALL};store.root={root}/runs;store.database={root}/db.duckdb;store.cache={root}/{name}"
    )
    run = open_run(load("nano", sets.split(";")), name)
    killed_at: list[tuple[int, str]] = []
    reader, writer = os.pipe()

    def die(step: int, phase: str) -> None:
        if how == "kill":
            os.write(writer, f"{step} {phase}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    processes = 0
    while True:
        processes += 1
        status = forked(lambda: advance(run, 0, after=die))
        if status == 0:
            break
        if status != -signal.SIGKILL:
            raise SystemExit(f"process {processes} ended with {status}")
        step, phase = os.read(reader, 100).decode().split()
        killed_at.append((int(step), phase))
    print(json.dumps({"processes": processes, "hash": final_hash(run), "killed_at": killed_at}))


if __name__ == "__main__":
    import_heavy()
    torch.set_num_threads(1)
    main(*sys.argv[1:])
