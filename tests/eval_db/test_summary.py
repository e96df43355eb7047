"""The summary of a run: what `make run` prints."""

from __future__ import annotations

import json
import re

import pytest
from synthetic import NANO, Spec, build, simulate

from eval.report import tables
from eval.report.connection import connect, open_database, query
from eval.report.rows import Key, Setting, typed
from eval.report.summary import find_run
from zppo_core.errors import UserError
from zppo_core.records.schema import decode


def rows(journal, table):
    return [
        row
        for unit in journal.units()
        for file, data in journal.read(unit).items()
        if file == f"{table}.parquet"
        for row in decode(table, data).to_pylist()
    ]


def test_accuracy_is_the_plain_mean_over_a_familys_benchmarks(database_path):
    data = tables.summary(database_path, "nano-zppo-s0")
    scores = {
        (r["role"], r["benchmark"]): r["score"] for r in rows(simulate(Spec()), "eval_scores")
    }
    for row in data["accuracy"]:
        names = NANO[row["family"]]
        for role in ("base", "student", "teacher"):
            expected = 100 * sum(scores[role, b] for b in names) / len(names)
            assert row[role] == pytest.approx(expected)
        assert row["gain"] == pytest.approx(row["student"] - row["base"])
        assert row["n"] == 60 * len(names)
    assert [r["family"] for r in data["accuracy"]] == ["VLM", "LLM", "Video"]


def test_a_base_that_only_another_run_evaluated_is_found_by_its_content(tmp_path):
    build(tmp_path / "d", [Spec(), Spec(seed=1)])
    with open_database(tmp_path / "d", read_only=False) as c:
        query(
            c,
            "DELETE FROM eval_scores WHERE role <> 'student' AND source_id IN "
            "(SELECT source_id FROM ingested WHERE run_key = 'nano-zppo-s1')",
        )
    first, second = (tables.summary(tmp_path / "d", f"nano-zppo-s{s}") for s in (0, 1))
    assert [r["base"] for r in first["accuracy"]] == [r["base"] for r in second["accuracy"]]
    assert all(r["teacher"] is not None for r in second["accuracy"])


def test_a_missing_benchmark_leaves_no_average_and_is_named(database_path):
    data = tables.summary(database_path, "0.8B-zppo-s0")
    llm = next(r for r in data["accuracy"] if r["family"] == "LLM")
    assert (llm["student"], llm["scored"], llm["benchmarks"]) == (None, 9, 10)
    assert "HLE (gated data set)" in tables.summary_text(data)
    assert re.search(r"LLM +– +– +– +– +9 of 10", tables.summary_text(data))


def test_graduation_counts_every_stay_in_the_buffer_once(database_path):
    data = tables.summary(database_path, "nano-zppo-s0")
    events = rows(simulate(Spec()), "buffer_events")
    for row in data["graduation"]:
        own = [e for e in events if e["entry_accuracy"] * 100 == row["entry_accuracy"]]
        count = {k: sum(e["event"] == k for e in own) for k in ("admit", "graduate", "evict")}
        assert row["admitted"] == count["admit"]
        assert row["graduated"] == count["graduate"]
        assert row["evicted"] == count["evict"]
        assert row["held"] == count["admit"] - count["graduate"] - count["evict"]
        assert 0 < row["revisited"] <= row["admitted"]
    assert sum(r["held"] for r in data["graduation"]) == data["run"]["buffer_size"]


def test_times_add_up_and_evaluation_shards_are_one_stage(database_path):
    data = tables.summary(database_path, "nano-zppo-s0")
    stages = {t["phase"]: t for t in data["times"] if t["level"] == "stage"}
    assert stages["evaluate"]["seconds"] == 9.0
    assert stages["evaluate"]["times"] == 2
    phases = {t["phase"]: t for t in data["times"] if t["level"] == "phase"}
    assert phases["plain"]["seconds"] == pytest.approx(24.0)
    assert phases["plain"]["model_seconds"] == pytest.approx(24.0 * 0.95)
    assert sum(t["share"] for t in phases.values()) == pytest.approx(100)


def test_each_roles_idle_time_and_the_bytes_of_new_weights_are_told(database_path):
    data = tables.summary(database_path, "nano-zppo-s0")
    phases = {t["phase"]: t for t in data["times"] if t["level"] == "phase"}
    assert phases["plain"]["student_seconds"] == pytest.approx(24.0 * 0.9)
    assert phases["update"]["sync_bytes"] == 2_000_000 * phases["update"]["times"]
    lines = tables.summary_text(data).splitlines()
    header = next(line for line in lines if line.startswith("phase "))
    assert header.split("  ")[-3:] == ["student idle", "teacher idle", "learner idle"]
    plain = next(line for line in lines if line.startswith("plain "))
    assert plain.split()[-6:] == ["10.0", "%", "70.0", "%", "100.0", "%"]
    copied = phases["update"]["sync_bytes"] / 1e6
    assert any(f"{copied:,.1f} MB copied" in line for line in lines)


def test_text_and_json_come_from_the_command_line(database_path, capsys):
    place = ["--database", str(database_path), "--run", "nano-zppo-s0"]
    assert tables.main(["summary", *place]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 100 for line in text.splitlines())
    for title in ("Accuracy, percent", "Replay buffer", "Wall time per stage", "Compute"):
        assert title in text
    assert tables.main(["summary", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out) == tables.summary(database_path, "nano-zppo-s0")


def test_a_run_is_found_by_an_unambiguous_beginning_and_the_latest_by_default(database_path):
    with open_database(database_path) as c:
        assert find_run(c, "nano-grpo-s1")["method"] == "grpo"
        assert find_run(c, None)["seed"] == 1
        with pytest.raises(UserError, match="several runs fit 'nano-grpo'"):
            find_run(c, "nano-grpo")
        with pytest.raises(UserError, match="no run 'x'; there are"):
            find_run(c, "x")


def test_a_database_without_runs_or_results_says_so(tmp_path, capsys):
    connect(tmp_path / "empty").close()
    for name, message in (("none", "no database at"), ("empty", "holds no run yet")):
        assert tables.main(["summary", "--database", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err
    build(tmp_path / "short", [Spec(steps=0, benchmarks={})])
    text = tables.summary_text(tables.summary(tmp_path / "short"))
    assert "0 rollout steps" in text
    assert "Accuracy" not in text


def test_a_query_that_lacks_a_column_which_is_relied_upon_is_refused_by_its_name():
    row = {"run_key": "a", "scale": "nano", "method": "zppo", "variant": "1"}
    assert typed(Key, [row]) == [row]
    with pytest.raises(TypeError, match="Setting gives no column 'recipe'"):
        typed(Setting, [row])
