"""A run with `compute.staleness`: killed or not it ends with the same weights, and verifies."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from whole_run import opened

from zppo_core.models.weights import folder_hash
from zppo_core.records.schema import decode
from zppo_core.run.loop import After, advance, nobody
from zppo_core.run.spec import Run
from zppo_core.run.verify import verify
from zppo_core.store.checkpoint import latest_checkpoint

STALE = {
    "run.rollout_steps": 3,
    "compute.staleness": 1,
    "loss.importance_cap": 2,
    "store.checkpoint_every": 2,
    "optimizer.lr": 1e-3,
}


def weights(run: Run, folder: Path) -> str:
    latest = latest_checkpoint(run.store, run.key)
    assert latest is not None
    assert latest.step == 3
    latest.fetch(folder, "student")
    return folder_hash(folder)


def updates(run: Run) -> list[dict]:
    return [
        {k: v for k, v in row.items() if k not in ("run_key", "seconds")}
        for step in range(3)
        for row in decode(
            "updates", (run.journal.read(f"step-{step:06d}/update") or {})["updates.parquet"]
        ).to_pylist()
    ]


def tasks(run: Run, after: After = nobody) -> None:
    """Every rollout step, task by task."""
    done = 0
    while done < run.rollout_steps:
        done = advance(run, done, after=after)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Run, str]:
    """Never killed."""
    folder = tmp_path_factory.mktemp("whole")
    run = opened(folder, STALE)
    tasks(run)
    return run, weights(run, folder / "student")


def test_the_journal_tells_whose_weights_sampled(whole) -> None:
    run, _ = whole
    for step in range(3):
        files = run.journal.read(f"step-{step:06d}/plain") or {}
        rows = decode("rollouts", files["rollouts.parquet"]).to_pylist()
        assert {row["version"] for row in rows} == {max(step - 1, 0)}
    assert run.journal.read("step-000003/plain") is None
    # sampled by other weights than those that are updated: more than rounding lies between
    rows = [
        decode("steps", (run.journal.read(f"step-{s:06d}/update") or {})["steps.parquet"])
        for s in range(3)
    ]
    first, *others = (table.to_pylist()[0]["mismatch_mean"] for table in rows)
    assert first < 1e-5
    assert min(others) > 1e-3


@pytest.mark.parametrize(
    "last",
    [(1, "plain"), (1, "update"), (2, "plain"), (2, "augmented")],
    ids=lambda last: "-".join(map(str, last)),
)
def test_a_killed_run_ends_with_the_same_weights(whole, tmp_path, last) -> None:
    class Killed(BaseException):
        pass

    def after(step: int, phase: str) -> None:
        if (step, phase) == last:
            raise Killed

    run = opened(tmp_path, STALE)
    with pytest.raises(Killed):
        tasks(run, after)
    tasks(run)
    assert updates(run) == updates(whole[0])
    assert weights(run, tmp_path / "student") == whole[1]


def test_a_step_is_verified_from_the_checkpoint_whose_weights_sampled_it(whole) -> None:
    verdict = verify(whole[0], 2)
    assert verdict.differences == ()
    assert verdict.began_at == 0  # of the checkpoint at 2 the weights are too new
    assert verdict.weights
