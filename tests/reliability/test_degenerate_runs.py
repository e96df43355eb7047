"""Runs in which nothing can be learned, or nobody differs, end as others do: in the database."""

import duckdb
import pytest
from whole_run import whole

from eval.report.tables import summary_text
from zppo_core.types import Grade, Question


def nothing_right(question: Question, response: str) -> Grade:
    return Grade(0.0, "wrong", None)


def all_right(question: Question, response: str) -> Grade:
    return Grade(1.0, "correct", question.gold)


CASES = {
    "all truncated": ("grpo", {"rollout.max_tokens": 2}),
    "nothing right": ("zppo", {"data.reward": "test_degenerate_runs:nothing_right"}),
    "all right": ("zppo", {"data.reward": "test_degenerate_runs:all_right"}),
    "self-teacher": ("zppo", {"teacher.model": "nano:student"}),
    "three models with the same weights": (
        "zppo",
        {"teacher.model": "nano:student", "rollout.max_tokens": 2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_degenerate_run_ends_in_the_database_and_the_summary(case: str, tmp_path, capsys) -> None:
    method, sets = CASES[case]
    summary = whole(tmp_path, sets, method)
    roles = {"base", "student"} | ({"teacher"} if method == "zppo" else set())
    with duckdb.connect(str(tmp_path / "db.duckdb"), read_only=True) as c:
        scores = c.execute("SELECT role, model_key FROM run_scores").fetchall()
        assert sorted(role for role, _ in scores) == sorted(roles)
        samples = c.execute("SELECT role, count(*) FROM eval_samples GROUP BY role").fetchall()
        assert dict(samples) == dict.fromkeys(roles, 3)
        groups, trivial = c.execute("SELECT sum(groups), sum(trivial) FROM step_kinds").fetchone()
        skipped = c.execute("SELECT sum(skipped_groups) FROM updates").fetchone()[0]
    assert skipped == trivial
    if case != "self-teacher":
        assert trivial == groups
        said = capsys.readouterr().out
        steps = [line for line in said.splitlines() if "groups trivial" in line]
        assert len(steps) == 2
        for line in steps:  # 8/8, 10/10: every group, the one that is computed for momentum too
            some, _, every = line.partition(" groups trivial")[0].split()[-1].partition("/")
            assert some == every
    if "same weights" in case or "truncated" in case:
        assert len({key for _, key in scores}) == 1
        gains = [r["gain"] for r in summary["accuracy"]]
        assert gains == [0.0]
    assert "Accuracy, percent" in summary_text(summary)
