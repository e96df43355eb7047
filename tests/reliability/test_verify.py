"""`zppo verify` proves a step bit for bit, and names what was tampered with."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from whole_run import opened, trained

from zppo_core.errors import UserError
from zppo_core.records.schema import decode, encode
from zppo_core.run.spec import Run
from zppo_core.run.verify import main, recorded_run, verify


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Two rollout steps with a checkpoint after each."""
    run = opened(tmp_path_factory.mktemp("verify"))
    trained(run)
    return run


def test_the_last_step_is_the_same_bit_for_bit_and_so_are_its_weights(run, capsys) -> None:
    before = {e.key for e in run.store.entries()}
    assert main([f"{run.store_url}/{run.key}", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["step"], verdict["began_at"], verdict["differences"]) == (1, 1, [])
    assert len(verdict["weights"]) == 64
    assert verdict["rows"] > 50
    assert {e.key for e in run.store.entries()} == before


def test_a_record_that_was_changed_is_named(run) -> None:
    unit = "step-000000/plain"
    files = run.journal.read(unit) or {}
    rows = decode("rollouts", files["rollouts.parquet"]).to_pylist()
    rows[3]["reward"] = 1.0 - rows[3]["reward"]
    forged = {**files, "rollouts.parquet": encode("rollouts", rows)}
    manifest = f"{run.key}/journal/{unit}/manifest.json"
    kept = run.store.get(manifest)
    run.store.delete(manifest)
    run.journal.commit(unit, forged)
    try:
        verdict = verify(recorded_run(run.store, run.key), 0)
    finally:
        run.store.put(manifest, kept)
    assert verdict.differences == ("step-000000/plain/rollouts.parquet: row 3",)
    assert verdict.began_at == 0


def test_a_run_or_a_step_that_is_not_there_is_one_line(run, capsys) -> None:
    with pytest.raises(UserError, match="no finished rollout step 7"):
        verify(recorded_run(run.store, run.key), 7)
    assert main(["nobody", "--store", run.store_url]) == 2
    assert "zppo runs lists them" in capsys.readouterr().err
