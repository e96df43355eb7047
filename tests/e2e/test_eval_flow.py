"""eval_flow.py as a user starts it: fixtures, a judge, a missing benchmark, one in parts."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb

from eval import fixtures

ROOT = Path(__file__).parents[2]
SUITE = "MM-Vet,AI2D"


def start(
    python: str, folder: Path, *arguments: str, fail: str = ""
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment |= {"USERNAME": "root", "USER": "root"}
    if fail:
        environment |= {
            "ZPPO_TEST_FAIL": fail,
            "PYTHONPATH": str(Path(__file__).parent / "failing"),
        }
    return subprocess.run(
        [python, str(ROOT / "flows" / "eval_flow.py"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def test_a_model_is_scored_on_fixtures_with_a_judge_and_once_only(
    tmp_path: Path, warm_python: str
) -> None:
    fixtures.build(tmp_path / "data", ["MM-Vet"])  # AI2D is not there
    command = [
        "run",
        "--model",
        "nano:student",
        "--suite",
        SUITE,
        "--source",
        str(tmp_path / "data"),
        "--judge",
        "nano:teacher",
        "--name",
        "mine",
        "--settings",
        "min_pixels=256;max_pixels=4096",
    ]
    done = start(warm_python, tmp_path, *command)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    for said in ("AI2D: mine no score", "hf download", "0 of 2 benchmarks"):
        assert said in done.stdout
    database = tmp_path / "results" / "zppo.duckdb"
    with duckdb.connect(str(database), read_only=True) as db:
        rows = db.execute(
            "SELECT benchmark, role, run_key, n, score IS NULL, malformed IS NULL, missing_reason "
            "FROM eval_scores ORDER BY benchmark"
        ).fetchall()
        samples = dict(
            db.execute("SELECT benchmark, count(*) FROM eval_samples GROUP BY ALL").fetchall()
        )
        judged = db.execute("SELECT count(*) FROM eval_samples WHERE judge_reply IS NOT NULL")
        assert judged.fetchall()[0][0] > 0
        timed = db.execute("SELECT count(*) FROM eval_samples WHERE seconds IS NULL").fetchall()
        assert timed == [(0,)]
    assert [r[:3] for r in rows] == [(b, "mine", None) for b in sorted(SUITE.split(","))]
    by_name = {r[0]: r for r in rows}
    assert by_name["AI2D"][3:5] == (0, True)
    assert "hf download" in by_name["AI2D"][6]
    assert by_name["MM-Vet"][4] is False
    assert by_name["MM-Vet"][3] == samples["MM-Vet"]
    assert not by_name["MM-Vet"][5]

    board = subprocess.run(
        [sys.executable, "-m", "eval.compare", "--leaderboard"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    assert "mine" in board

    kept = list(tmp_path.glob("runs/teacher_cache/evaluations/**/manifest.json"))
    times = {p: p.stat().st_mtime_ns for p in kept}
    again = start(warm_python, tmp_path, *command)
    assert again.returncode == 0, (again.stdout + again.stderr)[-3000:]
    now = {
        p: p.stat().st_mtime_ns
        for p in tmp_path.glob("runs/teacher_cache/evaluations/**/manifest.json")
    }
    assert now == times  # stored scores of the same weights count: nothing was asked again


def test_a_failed_part_is_resumed_by_itself(tmp_path: Path, warm_python: str) -> None:
    fixtures.build(tmp_path / "data", ["MMLU"])
    done = start(
        warm_python,
        tmp_path,
        "run",
        "--model",
        "nano:student",
        "--suite",
        "MMLU",
        "--source",
        str(tmp_path / "data"),
        "--name",
        "mine",
        "--set",
        "evaluation.shard=6000",
        "--set",
        "evaluation.limit=0",
        "--max-workers",
        "1",
        fail="eval.scores:score~Part(index=1, of=3)",
    )
    assert done.returncode != 0
    assert "made to fail by a test" in done.stdout + done.stderr
    parts = tmp_path / "runs"

    def written() -> dict[str, int]:
        found = parts.glob("*/journal/parts/mine/MMLU/*/manifest.json")
        return {p.parent.name: p.stat().st_mtime_ns for p in found}

    first = written()
    assert "0-of-3" in first
    assert "1-of-3" not in first
    resumed = start(warm_python, tmp_path, "resume")
    assert resumed.returncode == 0, (resumed.stdout + resumed.stderr)[-3000:]
    second = written()
    assert sorted(second) == ["0-of-3", "1-of-3", "2-of-3"]
    assert {name: second[name] for name in first} == first  # not asked again
    with duckdb.connect(str(tmp_path / "results" / "zppo.duckdb"), read_only=True) as db:
        n = db.execute("SELECT n FROM eval_scores WHERE benchmark = 'MMLU'").fetchall()
        rows = db.execute("SELECT count(DISTINCT sample_id), count(*) FROM eval_samples").fetchall()
    assert n == [(rows[0][0],)]
    assert rows[0][0] == rows[0][1] > 0


def test_faults_are_one_line_before_anything_is_loaded(tmp_path: Path, warm_python: str) -> None:
    for arguments, words in (
        (("--suite", "paper32"), "no suite or benchmark"),
        (("--settings", "frame=2"), "frames"),
        (("--model", str(tmp_path / "none")), "config.json"),
    ):
        given = ["run", "--model", "nano:student", *arguments]
        if arguments[0] == "--model":
            given = ["run", *arguments]
        done = start(warm_python, tmp_path, *given)
        assert done.returncode != 0
        assert words in done.stdout + done.stderr
