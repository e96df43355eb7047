"""Audits: a planted leak is found and named, anonymous candidates pass, answers are compared."""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pytest

from eval import audit
from eval.audit import FEATURES, features, probe, share
from zppo_core.errors import UserError


def pairs(n: int, mark: str = "", seed: int = 0):
    """BCQ prompts of `n` / 2 questions whose candidates differ in nothing, but for `mark`."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        words = rng.integers(0, 99, rng.integers(5, 20))
        return " ".join(map(str, words)) + rf" so \boxed{{{rng.integers(0, 9)}}}"

    made = []
    for i in range(n):
        right, wrong, first = text() + mark, text(), bool(rng.random() < 0.5)
        a, b = (right, wrong) if first else (wrong, right)
        made.append((f"q{i // 2}", "How many apples are there?", a, b, first))
    return made


def test_a_full_stop_that_only_right_candidates_have_is_found_and_named():
    found = probe(pairs(120, mark="."))
    assert found.accuracy.low > 0.9
    assert found.features["ends with a full stop"].value == 1.0
    # a longer text after the box is the same leak
    assert set(found.leaks[:2]) == {"ends with a full stop", "characters after the box"}
    assert "more often than chance" in found.verdict


@pytest.mark.parametrize("seed", range(4))
def test_candidates_that_differ_in_nothing_are_told_at_chance(seed):
    found = probe(pairs(160, seed=seed), seed)
    assert found.accuracy.chance
    assert found.leaks == []
    assert found.verdict == "the surface does not tell the right candidate"
    assert found.right_first.chance


def test_a_question_is_never_judged_by_a_model_that_saw_it():
    # each question's right candidate has a length of its own: only memory could tell
    rng = np.random.default_rng(0)
    made = []
    for q in range(40):
        sign = 1 if rng.random() < 0.5 else -1
        for copy in range(4):
            long, short = "x" * 200, "y" * 100
            right, wrong = (long, short) if sign > 0 else (short, long)
            first = copy % 2 == 0
            made.append((f"q{q}", "?", *((right, wrong) if first else (wrong, right)), first))
    assert probe(made).accuracy.value < 0.75


def test_the_interval_is_over_questions_not_over_prompts():
    hits = np.repeat([True, False], 50)  # two questions, fifty prompts each
    wide = share(hits, np.repeat([0, 1], 50))
    assert (wide.low, wide.high) == (0.0, 1.0)
    narrow = share(hits, np.arange(100))
    assert 0.35 < narrow.low < narrow.high < 0.65


def test_features_have_names_and_see_the_surface():
    named = dict(zip(FEATURES, features("Ab 12.\n\\boxed{3}.", "Ab 12."), strict=True))
    assert named["characters"] == 17
    assert named["lines"] == 2
    assert named["place of the box"] == pytest.approx(7 / 17)
    assert named["ends with a full stop"] == 1.0
    assert features("", "?")  # an empty candidate is no error


def test_too_few_prompts_are_no_evidence():
    with pytest.raises(UserError, match="too few"):
        probe(pairs(20))


def test_a_runs_audit_agrees_with_its_tables(database_path, capsys):
    arguments = ["--run", "0.8B-zppo", "--database", str(database_path)]
    assert audit.main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    with duckdb.connect(str(database_path), read_only=True) as c:
        n, kept, summarised = c.execute(
            "SELECT count(*), avg((answer = source_answer)::INT), 1 - avg(fallback::INT) "
            "FROM teacher_draws WHERE run_key = '0.8B-zppo-s0' AND purpose = 'compress'"
        ).fetchone()
        bcq = c.execute(
            "SELECT count(*) FROM groups WHERE run_key = '0.8B-zppo-s0' AND kind = 'bcq'"
        ).fetchone()[0]
    assert data["compression"]["candidates"] == n
    assert data["compression"]["kept_answer"] == kept
    assert data["compression"]["summarised"] == pytest.approx(summarised)
    assert sum(r["n"] for r in data["match"] if r["kind"] == "bcq") == 8 * bcq
    assert (data["probe"] or {}).get("pairs", bcq) == bcq
    assert audit.main(arguments) == 0
    assert f"{n:,} candidates" in capsys.readouterr().out


def test_a_run_without_candidates_says_so(database_path, capsys):
    assert audit.main(["--run", "nano-grpo-s0", "--database", str(database_path)]) == 0
    assert "No probe: 0 BCQ prompts" in capsys.readouterr().out
