"""A short real run at scale nano: what a toy from outside the package must come through."""

from pathlib import Path

from zppo_core.config import load
from zppo_core.records.schema import decode
from zppo_core.run.loop import advance
from zppo_core.run.preflight import check
from zppo_core.run.setup import open_run
from zppo_core.run.spec import Run

ROOT = Path(__file__).parents[2]
SETS = {
    "run.rollout_steps": 1,
    "data.train_questions": 16,
    "rollout.new_prompts": 8,
    "rollout.group_size": 8,
    "rollout.max_tokens": 24,
    "reformulation.ratio": 0.7,
    "optimizer.updates": 1,
    "store.checkpoint_every": 1,
    "compute.threads": 1,
}


def short_run(tmp_path: Path, **sets: object) -> Run:
    """One rollout step with `section__field=value` settings, checked and journalled as any."""
    places = {
        "store.root": tmp_path / "runs",
        "store.cache": tmp_path / "cache",
        "store.database": tmp_path / "zppo.duckdb",
    }
    own = {name.replace("__", "."): value for name, value in sets.items()}
    config = load("nano", [f"{k}={v}" for k, v in {**SETS, **places, **own}.items()])
    check(config)
    run = open_run(config, "test").with_steps(1)
    assert advance(run, 0) == 1
    return run


def rows(run: Run, unit: str, table: str) -> list[dict]:
    """The rows of one table of a committed unit of the first step."""
    files = run.journal.read(f"step-000000/{unit}") or {}
    return decode(table, files[f"{table}.parquet"]).to_pylist()
