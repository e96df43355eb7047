"""Sweeps: planned whole before the first run, what failed runs again alone, and nothing twice."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from eval.harness import expected_of
from eval.report import evidence
from eval.suite import SUITES
from steps import sweep as steps_sweep
from zppo_core.config.overrides import resolve
from zppo_core.errors import UserError
from zppo_core.run import sweep

# stands in for the ZPPO flow: notes that it ran, and fails where a file says so
FLOW = """
import sys, pathlib
name = sys.argv[sys.argv.index("--name") + 1]
with open("ran.txt", "a") as file:
    file.write(name + "\\n")
sys.exit(3 if pathlib.Path("broken-" + name).exists() else 0)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    monkeypatch.setattr(steps_sweep, "FLOW", (str(flow),))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def two_methods(**changes: str) -> list[sweep.Member]:
    given = {"methods": "grpo,zppo", "scales": "nano", "seeds": "0,1", "sets": ""} | changes
    return sweep.members(sweep.plan("", "trial", **given))


def ran(folder: Path) -> list[str]:
    return (folder / "ran.txt").read_text().split()


def test_members_are_methods_times_seeds_seed_by_seed():
    assert [m.name for m in two_methods()] == [
        "trial-nano-grpo-s0",
        "trial-nano-zppo-s0",
        "trial-nano-grpo-s1",
        "trial-nano-zppo-s1",
    ]


def test_the_evidence_preset_is_eight_methods_over_five_paired_seeds():
    plan = sweep.plan("evidence", "", "", "", "", "")
    assert (len(plan.methods), plan.seeds, plan.page) == (8, (0, 1, 2, 3, 4), "docs/evidence.md")
    assert len(sweep.members(plan)) == 40
    assert sweep.plan("evidence", "", "zppo", "", "7", "").methods == ("zppo",)


def test_the_evidence_preset_asks_as_many_questions_as_its_page_says():
    member = sweep.members(sweep.plan("evidence", "", "", "", "", ""))[0]
    limit = resolve(member.scale, member.method, "0", member.sets).evaluation.limit
    asked = {b.family: 0 for b in SUITES["nano"]}
    for benchmark in SUITES["nano"]:
        asked[benchmark.family] += expected_of(benchmark, limit)
    said = ", ".join(
        f"{family} {n:,}" for family, n in sorted(asked.items(), key=lambda pair: pair[0].lower())
    )
    page = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert f"Test questions for each model: {said}" in page


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seeds": "0,x"}, "write numbers"),
        ({"methods": "grpo,zpo"}, "zpo"),
        ({"sets": "optimizer.lrr=1"}, "lr"),
    ],
)
def test_a_fault_in_any_member_stops_the_sweep_before_its_first_run(folder, changes, fault):
    with pytest.raises(UserError, match=fault):
        two_methods(**changes)
    assert not (folder / "ran.txt").exists()


def test_what_failed_runs_again_alone_and_what_is_done_does_not(folder):
    members = two_methods(seeds="0")
    broken = folder / f"broken-{members[1].name}"
    broken.touch()
    first = [steps_sweep.run_member(m, str(folder)) for m in members]
    assert [r["status"] for r in first] == ["done", "failed"]
    text = sweep.report(first)
    assert "1 of 2 members done" in text
    assert first[1]["log"] in text
    broken.unlink()
    again = [steps_sweep.run_member(m, str(folder)) for m in members]
    assert [r["status"] for r in again] == ["done before", "done"]
    assert ran(folder) == [members[0].name, members[1].name, members[1].name]


def test_a_member_whose_result_is_kept_runs_on_no_other_machine(folder, monkeypatch):
    def keep(database, run_key, path, settings):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"settings": settings, "measured": run_key}))

    monkeypatch.setattr(steps_sweep.zone, "keep", keep)
    plan = replace(sweep.plan("", "trial", "grpo,zppo", "nano", "0", ""), results="kept")
    members = sweep.members(plan)
    assert steps_sweep.run_member(members[0], str(folder))["status"] == "done"
    for member in members:  # what this machine noted is gone, what is committed is not
        shutil.rmtree(sweep.ledger(member).parent, ignore_errors=True)
    again = [steps_sweep.run_member(m, str(folder))["status"] for m in members]
    assert again == ["done before", "done"]
    assert ran(folder) == [m.name for m in members]
    (kept,) = folder.glob(f"kept/{members[1].name}.json")
    kept.write_text("torn")
    assert steps_sweep.run_member(members[1], str(folder))["status"] == "done"
    longer = replace(plan, sets=("run.rollout_steps=3",))
    assert steps_sweep.run_member(sweep.members(longer)[0], str(folder))["status"] == "done"


def test_an_unknown_preset_is_told_those_that_there_are():
    with pytest.raises(UserError, match="evidence"):
        sweep.plan("evidense", "", "", "", "", "")
    with pytest.raises(UserError, match="zone"):  # a scale of that name is no sweep
        sweep.plan("nano", "", "", "", "", "")


def test_other_settings_under_the_same_name_are_not_taken_for_done(folder):
    for sets in ("", "run.rollout_steps=3"):
        (member, *_) = two_methods(methods="grpo", seeds="0", sets=sets)
        assert steps_sweep.run_member(member, str(folder))["status"] == "done"


def test_a_file_of_ones_own_reaches_every_member_and_another_text_runs_them_again(folder):
    for updates in (2, 3, 3):
        text = f"[optimizer]\nupdates = {updates}\n"
        plan = sweep.plan("", "trial", "grpo", "nano", "0", ["run.rollout_steps=3"], text)
        (member,) = sweep.members(plan)
        assert member.settings.optimizer.updates == updates
        steps_sweep.run_member(member, str(folder))
        assert sweep.ledger(member).with_suffix(".toml").read_text() == text
    assert len(ran(folder)) == 2
    with pytest.raises(UserError, match=r"--config: unknown field optimizer\.update"):
        sweep.members(sweep.plan("", "t", "grpo", "nano", "0", "", "[optimizer]\nupdate = 3"))


def test_a_kill_while_a_note_is_written_leaves_none(folder, monkeypatch):
    (member, *_) = two_methods(methods="grpo", seeds="0")

    def die(source: Path, target: Path) -> None:
        assert not sweep.ledger(member).exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            steps_sweep.run_member(member, str(folder))
    assert not sweep.ledger(member).exists()
    assert steps_sweep.run_member(member, str(folder))["status"] == "done"
    assert steps_sweep.run_member(member, str(folder))["status"] == "done before"


@pytest.mark.parametrize("half", ["", '{"sett', "[]", "{}"])
def test_a_damaged_note_is_said_and_its_member_runs_again(folder, capsys, half):
    (member, *_) = two_methods(methods="grpo", seeds="0")
    sweep.ledger(member).parent.mkdir(parents=True)
    sweep.ledger(member).write_text(half)
    assert steps_sweep.run_member(member, str(folder))["status"] == "done"
    assert f"{member.name}.json is damaged" in capsys.readouterr().out
    assert steps_sweep.run_member(member, str(folder))["status"] == "done before"


def test_a_sweep_without_a_page_writes_none(folder):
    plan = sweep.plan("", "trial", "grpo", "nano", "0", "")
    assert steps_sweep.write_page(plan, str(folder)) == ""
    assert not list(folder.rglob("*.md"))


def test_a_preset_s_page_is_written_from_the_sweep_s_own_database(folder, monkeypatch):
    written = []
    monkeypatch.setattr(evidence, "write", lambda *arguments: written.append(arguments))
    plan = sweep.plan("evidence", "mine", "", "", "", "store.database=here/all.duckdb")
    assert steps_sweep.write_page(plan, str(folder)) == str(folder / "docs/evidence.md")
    database = str(folder / "here/all.duckdb")
    assert written == [(database, "mine", folder / "docs/evidence.md")]


def test_a_sweep_without_flows_runs_its_members_as_plain_processes(folder, monkeypatch):
    monkeypatch.setattr(steps_sweep, "PROCESS", (str(folder / "flow.py"),))
    monkeypatch.setattr(steps_sweep, "FLOW", ("no-such-file.py",))
    plan = replace(sweep.plan("", "trial", "grpo", "nano", "0", ""), flows=False)
    (member,) = sweep.members(plan)
    assert sweep.identity(member) == sweep.identity(replace(member, flows=True))
    assert "--max-workers" not in sweep.arguments(member, folder / "note.json")
    assert steps_sweep.run_member(member, str(folder))["status"] == "done"
    assert ran(folder) == [member.name]
    assert not sweep.plan("zone", "", "", "", "", "").flows
