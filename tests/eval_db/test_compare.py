"""Paired comparison of two runs: exact tests by hand, pairs by id, no mixing of protocols."""

from __future__ import annotations

import json

import duckdb
import pytest
from synthetic import Spec, build

from eval import compare
from eval.compare import holm, mcnemar


@pytest.fixture
def database(tmp_path):
    specs = [Spec(method=m, seed=s, steps=1, samples=40) for m in ("zppo", "grpo") for s in (0, 1)]
    return build(tmp_path / "two.duckdb", specs)


def found(database, a="nano-zppo-s0", b="nano-grpo-s0"):
    with duckdb.connect(str(database), read_only=True) as c:
        return {(d.family, d.benchmark): d for d in compare.compare(c, a, b)}


def test_mcnemar_is_the_binomial_test_of_the_differing_questions():
    # 8 : 2 of 10 fair coins: 2 (1 + 10 + 45) / 1024
    assert mcnemar(8, 2) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]


def test_samples_are_paired_by_id_and_families_weigh_benchmarks_alike(database):
    both = found(database)
    with duckdb.connect(str(database), read_only=True) as c:
        better, worse, a, b, n = c.execute(
            "SELECT sum((x.score > y.score)::INT), sum((x.score < y.score)::INT), "
            "100 * avg(x.score), 100 * avg(y.score), count(*) "
            "FROM eval_samples x JOIN eval_samples y USING (benchmark, sample_id) "
            "WHERE benchmark = 'vlm_rows' AND x.run_key = 'nano-zppo-s0' "
            "AND y.run_key = 'nano-grpo-s0'"
        ).fetchone()
    rows = both["VLM", "vlm_rows"]
    assert (rows.better, rows.worse, rows.n, rows.unpaired) == (better, worse, n, 0)
    assert (rows.a, rows.b) == pytest.approx((a, b))
    assert rows.p == mcnemar(better, worse)
    assert rows.holm >= rows.p
    mean = both["VLM", "mean"]
    parts = [both["VLM", name].difference for name in ("vlm_rows", "vlm_grids")]
    assert mean.difference == pytest.approx(sum(parts) / 2)
    assert mean.low < mean.difference < mean.high
    other = found(database, "nano-grpo-s0", "nano-zppo-s0")["VLM", "vlm_rows"]
    assert (other.difference, other.p) == (-rows.difference, rows.p)


def test_questions_that_only_one_run_answered_are_left_out_and_counted(database):
    with duckdb.connect(str(database)) as c:
        c.execute(
            "DELETE FROM eval_samples WHERE run_key = 'nano-grpo-s0' AND benchmark = 'vlm_rows' "
            "AND sample_id IN ('0', '1', '2')"
        )
    rows = found(database)["VLM", "vlm_rows"]
    assert (rows.n, rows.unpaired) == (37, 3)


@pytest.mark.parametrize(
    ("a", "b", "fault"),
    [("nano-zppo-s0", "nano-zppo-s0", "same run"), ("nano-zppo", "nano-grpo-s0", "several runs"),
     ("nano-zppo-s0", "nothing", "no run")],
)  # fmt: skip
def test_a_fault_is_one_line(database, capsys, a, b, fault):
    assert compare.main([a, b, "--database", str(database)]) == 2
    assert fault in capsys.readouterr().err


def test_other_protocols_are_not_compared(database, capsys):
    with duckdb.connect(str(database)) as c:
        for name in ("eval_samples", "eval_scores"):
            c.execute(f"UPDATE {name} SET protocol_key = 'p2' WHERE run_key = 'nano-grpo-s0'")
    assert compare.main(["nano-zppo-s0", "nano-grpo-s0", "--database", str(database)]) == 2
    assert "protocols" in capsys.readouterr().err


def test_the_commands_print(database, capsys):
    arguments = ["--database", str(database)]
    assert compare.main(["nano-zppo-s0", "nano-grpo-s0", "--json", *arguments]) == 0
    assert {d["benchmark"] for d in json.loads(capsys.readouterr().out)} >= {"vlm_rows", "mean"}
    assert compare.main(["nano-zppo-s0", "nano-grpo-s0", *arguments]) == 0
    assert "better : worse" in capsys.readouterr().out
    assert compare.main(["--leaderboard", "--suite", "nano", *arguments]) == 0
    board = [r for r in capsys.readouterr().out.splitlines() if r.startswith("vlm_rows")]
    scores = [float(r.split("[")[0].split()[-1]) for r in board]
    assert scores == sorted(scores, reverse=True)
    assert len(board) == 6  # four students, base, teacher
    assert compare.main(["--leaderboard", "--suite", "none", *arguments]) == 2


def test_models_outside_of_runs_are_compared_by_their_names(database):
    """As eval_flow.py files them: no run, the model's name as its role."""
    with duckdb.connect(str(database)) as c:
        for name, run in (("mine", "nano-zppo-s0"), ("yours", "nano-grpo-s0")):
            for table in ("eval_samples", "eval_scores"):
                c.execute(
                    f"INSERT INTO {table} SELECT * REPLACE (NULL AS run_key, ? AS role, "
                    f"'{name}' AS model_key) FROM {table} WHERE run_key = ? AND role = 'student'",
                    [name, run],
                )
    own, runs = found(database, "mine", "yours"), found(database)
    assert own.keys() == runs.keys()
    assert all(own[k] == runs[k] for k in own)
    assert found(database, "mine", "nano-grpo-s0") == runs
