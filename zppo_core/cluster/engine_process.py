"""The engines of one of a run's further hosts: `python -m zppo_core.cluster.engine_process`.

The first of the host's update workers starts it (`zppo_core/cluster/worker.py`), with the step's
address and key in ZPPO_ENGINES (host:port:key), the number of its host in ZPPO_HOST and in
ZPPO_WEIGHTS the file in which the workers leave new weights. It ends when the step goes away.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from zppo_core import models
from zppo_core.cluster import listener as connections
from zppo_core.cluster.host import serve
from zppo_core.cluster.messages import pack, unpack
from zppo_core.config import Config, from_dict
from zppo_core.engines.base import kind_of
from zppo_core.engines.factory import student_engine, teachers
from zppo_core.models.threads import set_threads
from zppo_core.processes.startup import hurry
from zppo_core.protocols import Engine


def engines_here(config: Config, judging: bool) -> dict[str, Engine]:
    """The student's engine, and each teacher's that is not behind an address, by role."""
    import torch

    if kind_of(config).in_process:
        dtype = getattr(torch, config.student.dtype)
        model, renderer = models.load(config.student.model, dtype, config.compute.device)
    else:
        _, vocab, images = models.shape(config.student.model)
        model, renderer = None, models.load_renderer(config.student.model, vocab, images)
    found = {"student": student_engine(config, model, renderer)}
    if not config.teacher.endpoint:
        for i, teacher in enumerate(teachers(config, renderer, judging)):
            found[f"teacher {i}"] = teacher.engine
    return found


def main() -> int:
    """Answer until the step goes away; the folder of weights goes too, if a killed worker left it.

    Workers may be ended in ways that leave them no time to clear up.
    """
    hurry()
    try:
        answer()
    finally:
        shutil.rmtree(Path(os.environ["ZPPO_WEIGHTS"]).parent, ignore_errors=True)
    return 0


def answer() -> None:
    """Connect, build what the step describes, answer; a connection and a thread for each role."""
    address, _, key = os.environ["ZPPO_ENGINES"].rpartition(":")
    host, file = int(os.environ["ZPPO_HOST"]), os.environ["ZPPO_WEIGHTS"]
    first = connections.connect(address, bytes.fromhex(key))
    about, _ = unpack(first.recv_bytes())
    config = from_dict(about["config"])
    set_threads(config)

    def weights() -> Any:
        from safetensors.torch import load_file

        return load_file(file)

    try:
        engines = engines_here(config, about["judging"])
    except Exception as error:
        first.send_bytes(pack({"fault": f"{type(error).__name__}: {error}".splitlines()[0][:500]}))
        raise
    answering = []
    for role, engine in engines.items():
        own = connections.connect(address, bytes.fromhex(key))
        own.send_bytes(
            pack({"host": host, "role": role, "name": engine.name, "version": engine.version})
        )
        answering.append(Thread(target=serve, args=(engine, own, weights)))
        answering[-1].start()
    for thread in answering:
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
