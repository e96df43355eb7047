import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[2]
FLOW = ROOT / "flows" / "zppo_flow.py"
SMALL = {
    "run.rollout_steps": 2,
    "run.steps_per_task": 1,
    "data.train_questions": 16,
    "rollout.new_prompts": 8,
    "rollout.group_size": 4,
    "rollout.max_tokens": 32,
    "reformulation.ratio": 0.5,
    "replay.ratio": 0.5,
    "optimizer.updates": 2,
    "evaluation.suite": "nano_rows",
    "evaluation.limit": 12,
    "compute.memory_mb": 3000,
    "compute.threads": 1,
}


def flow(
    python: str, folder: Path, *arguments: str, fail: str = ""
) -> subprocess.CompletedProcess[str]:
    """The flow as a user starts it, from another working directory and as root."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment |= {"USERNAME": "root", "USER": "root", "ZPPO_TEST_FAIL": fail}
    environment["PYTHONPATH"] = str(Path(__file__).parent / "failing")
    return subprocess.run(
        [python, str(FLOW), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def machine_of_a_resumed_run(folder: Path) -> dict[str, int]:
    """MiB that a step asks for, when the run is resumed and when another one is started."""
    code = (
        "import json, sys\n"
        "from steps.launch import prepare_process\n"
        "from steps.machine import machine\n"
        "found = {}\n"
        "for command in ('resume', 'run'):\n"
        "    sys.argv[1:] = [command]\n"
        "    found[command] = machine(prepare_process('ZPPOFlow')).memory\n"
        "print(json.dumps(found))"
    )
    environment = os.environ | {"PYTHONPATH": str(FLOW.parents[1]), "METAFLOW_USER": "zppo"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout.splitlines()[-1])


def test_the_flow_resumes_after_a_failure_in_any_step_and_fills_the_database(
    tmp_path: Path, warm_python: str
) -> None:
    sets = [part for k, v in SMALL.items() for part in ("--set", f"{k}={v}")]
    done = flow(warm_python, tmp_path, "run", *sets, fail="steps.prepare_data:prepare_data")
    assert done.returncode != 0
    assert "made to fail" in done.stdout + done.stderr
    for where in (
        "steps.cache_teacher:cache_teacher",
        "zppo_core.run.loop:step_files",
        "eval.scores:score",
        "steps.aggregate:aggregate",
    ):
        failed = flow(warm_python, tmp_path, "resume", fail=where)
        assert failed.returncode != 0, where
        assert "made to fail" in failed.stdout + failed.stderr, where
    done = flow(warm_python, tmp_path, "resume")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "Accuracy, percent" in done.stdout
    assert machine_of_a_resumed_run(tmp_path) == {"resume": 3000, "run": 4096}

    database = tmp_path / "results" / "zppo.duckdb"
    with duckdb.connect(str(database), read_only=True) as db:

        def one(sql: str):
            return db.execute(sql).fetchone()

        assert one("SELECT count(*), count(DISTINCT run_key) FROM runs") == (1, 1)
        assert one("SELECT count(*), max(buffer_size) > 0 FROM steps") == (2, True)
        groups, rollouts = (
            one("SELECT count(*) FROM groups")[0],
            one("SELECT count(*) FROM rollouts")[0],
        )
        assert groups >= 2 * (8 + 4)
        assert rollouts == one("SELECT count(*) FROM advantages")[0] == 4 * groups
        assert one("SELECT count(DISTINCT phase) FROM phases WHERE step >= 0")[0] == 5
        busy = {
            r[0]: r[1:]
            for r in db.execute(
                "SELECT phase, sum(student_seconds) > 0, sum(learner_seconds) > 0, sum(sync_bytes) "
                "FROM phases WHERE step >= 0 GROUP BY phase"
            ).fetchall()
        }
        assert busy["plain"] == (True, False, None)
        assert busy["update"] == (False, True, 0)  # engine and trainer share one model on a CPU
        stages = {r[0] for r in db.execute("SELECT phase FROM phases WHERE step < 0").fetchall()}
        assert stages >= {"prepare_data", "cache_teacher", "epoch/0", "epoch/1"}
        assert one("SELECT count(*) FROM updates")[0] == 4
        roles = "SELECT role, count(*), sum(n) FROM eval_scores GROUP BY role ORDER BY role"
        assert db.execute(roles).fetchall() == [
            ("base", 1, 12),
            ("student", 1, 12),
            ("teacher", 1, 12),
        ]
        assert one("SELECT count(*) FROM eval_samples")[0] == 36

    for line in ("gained:  VLM", "cost:    ", "student: zppo export", "records: ", "next:    zppo"):
        assert line in done.stdout
    cards = list((tmp_path / ".metaflow" / "mf.cards").rglob("zppo-*.html"))
    kinds = {path.name.split("-")[1] for path in cards}
    assert kinds == {"data", "teacher", "epoch", "evaluation", "summary"}
    last = max((p for p in cards if "-epoch-" in p.name), key=lambda p: p.stat().st_mtime)
    text = last.read_text(encoding="utf-8")
    assert "2 of 2</b>" in text  # the second task's card has the step of the first
    assert "step 1\nplain" in text

    command = [sys.executable, "-m", "eval.tables", "summary"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "Accuracy, percent" in text
    data = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert {a["family"] for a in json.loads(data.stdout)["accuracy"]} == {"VLM"}
