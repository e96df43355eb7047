"""Metaflow starts the hosts: two tasks of this machine, as `num_parallel` runs them locally."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

FLOWS = Path(__file__).resolve().parents[2] / "flows"
SETS = ";".join(
    (
        "run.rollout_steps=2",
        "run.steps_per_task=1",
        "data.train_questions=16",
        "rollout.new_prompts=4",
        "rollout.max_tokens=16",
        "evaluation.suite=nano_text",
        "evaluation.limit=2",
        "compute.update_hosts=2",
        "compute.update_processes=1",
        "compute.threads=1",
        "compute.rendezvous=auto",
    )
)


def test_hosts_train_together_and_the_usual_flow_evaluates(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment |= {"USERNAME": "root", "USER": "root", "ZPPO_PORT": port}

    def run(flow: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                str(FLOWS / flow),
                "run",
                "--scale",
                "nano",
                "--name",
                "both",
                "--set",
                SETS,
            ],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    early = run("zppo_flow.py")
    assert early.returncode != 0
    assert "flows/hosts_flow.py" in early.stdout + early.stderr
    trained = run("hosts_flow.py")
    assert trained.returncode == 0, (trained.stdout + trained.stderr)[-3000:]
    assert "2 processes, ZeRO-2" in trained.stdout
    assert "both: 2 rollout steps" in trained.stdout
    done = run("zppo_flow.py")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (tmp_path / "results" / "zppo.duckdb").is_file()
