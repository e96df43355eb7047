"""A run with artifacts, journal, checkpoints and teacher cache on S3; only the database is here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.store.objects import open_store

ROOT = Path(__file__).parents[2]
SMALL = (
    "run.rollout_steps=2",
    "run.steps_per_task=1",
    "data.train_questions=8",
    "rollout.new_prompts=4",
    "rollout.group_size=4",
    "rollout.max_tokens=24",
    "replay.ratio=0.5",
    "reformulation.ratio=0.5",
    "optimizer.updates=1",
    "compute.threads=1",
    "evaluation.suite=nano_text",
    "evaluation.limit=4",
    "store.root=s3://zppo-test/runs",
)


def test_a_run_on_s3_resumes_and_leaves_only_the_database_here(
    tmp_path: Path, s3_endpoint: str, warm_python: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment |= {
        "METAFLOW_DEFAULT_DATASTORE": "s3",
        "METAFLOW_DATASTORE_SYSROOT_S3": "s3://zppo-test/metaflow",
        "METAFLOW_S3_ENDPOINT_URL": s3_endpoint,
        "PYTHONPATH": str(Path(__file__).parent / "failing"),
    }

    def flow(*arguments: str, fail: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [warm_python, str(ROOT / "flows/zppo_flow.py"), *arguments],
            cwd=tmp_path,
            env=environment | {"ZPPO_TEST_FAIL": fail},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    sets = [part for s in SMALL for part in ("--set", s)]
    failed = flow("run", *sets, fail="eval.scores:score")
    assert failed.returncode != 0
    assert "made to fail" in failed.stdout + failed.stderr
    done = flow("resume")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "Accuracy, percent" in done.stdout
    assert not (tmp_path / "runs").exists()
    # of Metaflow, only the note of which run to resume
    assert not list((tmp_path / ".metaflow").rglob("*.data.json"))
    store = open_store("s3://zppo-test")
    keys = store.list()
    assert any(k.startswith("metaflow/ZPPOFlow/") for k in keys)
    assert any(k.startswith("runs/teacher_cache/draws/") for k in keys)
    (run,) = {k.split("/")[1] for k in keys if k.startswith("runs/nano-")}
    checkpoint = latest_checkpoint(open_store("s3://zppo-test/runs"), run)
    assert checkpoint is not None
    assert checkpoint.step == 2
