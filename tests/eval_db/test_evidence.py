"""The evidence page: paired seeds, verdicts from intervals alone, and nothing that was not run."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import Spec, build

from eval.report import evidence
from eval.report.evidence import CLAIMS, END, START, Claim, gap
from zppo_core.errors import UserError


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    specs = [
        Spec(method=m, seed=s, steps=6)
        for m in ("grpo", "grpo_replay", "zppo", "off_distill_replay")
        for s in range(3)
    ]
    return build(tmp_path_factory.mktemp("sweep") / "sweep.duckdb", specs)


def test_the_interval_is_student_t_over_paired_differences():
    # mean 2, sample sd 1, n = 3: 2 ± 4.303 / sqrt(3); power 80 % adds t(0.8, 2) = 1.061
    found = gap([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    assert found.detectable == pytest.approx((4.3027 + 1.0607) / 3**0.5, abs=1e-4)
    with pytest.raises(ValueError, match="two seeds"):
        gap([1.0])


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([1.0, 1.1, 0.9], "holds"), ([-1, -1.1, -0.9], "does not hold"), ([1, -1, 0.5], "undecided")],
)
def test_a_verdict_comes_from_the_interval_alone(differences, verdict):
    assert gap(differences).verdict == verdict


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.floats(-30, 30))
def test_what_moves_both_methods_of_a_seed_alike_changes_no_gap(noise, shift):
    ours = {s: x + shift for s, x in enumerate(noise)}
    cells = {("zppo", "VLM"): ours, ("grpo", "VLM"): dict(enumerate(noise))}
    found = Claim("", ((1, "zppo"), (-1, "grpo"))).gap(cells, "VLM")
    assert found is not None
    assert found.mean == pytest.approx(shift, abs=1e-9)
    assert found.high - found.low == pytest.approx(0, abs=1e-6)


def test_seeds_that_only_one_method_has_are_left_out():
    cells = {("zppo", "VLM"): {0: 9.0, 1: 5.0, 2: 6.0}, ("grpo", "VLM"): {1: 4.0, 2: 4.0, 3: 90.0}}
    found = Claim("", ((1, "zppo"), (-1, "grpo"))).gap(cells, "VLM")
    assert found is not None
    assert (found.n, found.mean) == (2, 1.5)


def test_super_additivity_counts_the_start_once():
    (claim,) = [c for c in CLAIMS if "super-additive" in c.text]
    assert sum(sign for sign, _ in claim.terms) == 0
    values = {"zppo": 10.0, "grpo_replay": 3.0, "grpo_both": 2.0, "grpo": 1.0}
    cells = {(m, "VLM"): {0: v, 1: v} for m, v in values.items()}
    # 9 points together, 2 + 1 by themselves
    assert claim.gap(cells, "VLM").mean == 6.0


def test_the_page_agrees_with_the_database_and_marks_what_was_not_run(sweep, tmp_path):
    path = tmp_path / "evidence.md"
    path.write_text(f"# Evidence\n\nOurs.\n\n{START}\nstale words\n{END}\n\nReading.\n")
    evidence.write(sweep, "nano", path)
    text = path.read_text()
    assert text.startswith("# Evidence\n\nOurs.")
    assert text.endswith("Reading.\n")
    assert "stale words" not in text
    assert "12 runs of 6 rollout steps over 3 seeds" in text
    assert max(map(len, text.splitlines())) <= 140
    with duckdb.connect(str(sweep), read_only=True) as c:
        rows = c.execute(
            "SELECT method, 100 * avg(score) FROM eval_scores JOIN runs USING (run_key) "
            "WHERE family = 'Video' AND role = 'student' GROUP BY method"
        ).fetchall()
        graduated, admitted = c.execute(
            "SELECT sum(graduated), sum(admitted) FROM graduation WHERE run_key LIKE '%zppo%' "
            "AND entry_bin = 0"
        ).fetchone()
    for method, mean in rows:
        (line,) = [r for r in text.splitlines() if r.startswith(f"| `{method}`") and "±" in r]
        assert f"{mean:.1f} ±" in line
    assert f"{graduated} of {admitted}" in text
    unmeasured = [r for r in text.splitlines() if "on-policy distillation" in r]
    assert unmeasured
    assert all(r.endswith("not measured |") for r in unmeasured)
    assert (tmp_path / "pictures" / "evidence.svg").read_text().count("<svg") == 1


def test_teacher_draws_shared_by_runs_are_counted_once(sweep, tmp_path):
    path = tmp_path / "evidence.md"
    evidence.write(sweep, "nano", path)
    (line,) = [r for r in path.read_text().splitlines() if r.startswith("| all seeds")]
    alone, shared = (int(cell.replace(",", "")) for cell in line.split("|")[2:4])
    with duckdb.connect(str(sweep), read_only=True) as c:
        keys = "question_id, visit, draw"
        expected = [
            c.execute(
                "SELECT sum(tokens) FROM (SELECT any_value(tokens) AS tokens FROM teacher_draws "
                f"WHERE purpose = 'draw' GROUP BY {group})"
            ).fetchone()[0]
            for group in (f"run_key, {keys}", keys)
        ]
    assert [alone, shared] == expected
    assert shared < alone


def test_a_sweep_that_is_not_there_is_named(sweep, tmp_path, capsys):
    arguments = ["--database", str(sweep), "--page", str(tmp_path / "p.md"), "--sweep", "other"]
    assert evidence.main(arguments) == 2
    assert "'other'" in capsys.readouterr().err
    with pytest.raises(UserError):
        evidence.write(sweep, "other", tmp_path / "p.md")
