"""The zone's measures and the test of its claims: planted effects are found, and noise is not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report import zone, zone_claims
from eval.report.connection import open_database
from eval.report.zone_claims import Claim, holm, sign_flips
from zppo_core.config.methods import METHODS
from zppo_core.data.digits import ZONE_BENCHMARKS
from zppo_core.errors import UserError
from zppo_core.run import sweep

STEPS = 8


def write(folder: Path, method: str, seed: int, level: float, scale: str = "zone") -> None:
    """A result file of a run whose curve rises to `level` of 1, give or take a little."""
    rng = np.random.default_rng(seed)
    curve = np.linspace(0, level, STEPS) + rng.normal(0, 0.002, STEPS)
    text = "".join(str(int(x)) for x in rng.random(90) < level)
    kept = {
        "settings": json.dumps({"scale": scale}),
        "method": method,
        "seed": seed,
        "curve": list(curve),
        "student_tokens": [1000 * (i + 1) for i in range(STEPS)],
        "steps_to_half": zone.steps_to(curve, 0.5),
        "graduated_at_zero": int(100 * level),
        "asked": dict.fromkeys(ZONE_BENCHMARKS, 90),
        "right": dict.fromkeys(ZONE_BENCHMARKS, f"{int(text, 2):x}"),
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{scale}-{method}-s{seed}.json").write_text(json.dumps(kept))


def test_a_planted_difference_holds_one_against_it_does_not_and_none_is_undecided(tmp_path):
    for seed in range(8):
        write(tmp_path, "zppo", seed, 0.8)
        write(tmp_path, "grpo", seed, 0.4)
        write(tmp_path, "lorem", seed, 0.4 if seed % 2 else 0.41)
        write(tmp_path, "again", seed, 0.41 if seed % 2 else 0.4)
    asked = [
        Claim("a", "area", {"zone/zppo": 1, "zone/grpo": -1}),
        Claim("b", "hard_VLM", {"zone/grpo": 1, "zone/zppo": -1}),
        Claim("c", "area", {"zone/lorem": 1, "zone/again": -1}),
        Claim("d", "area", {"zone/zppo": 1, "zone/never": -1}),
        Claim("e", "steps_to_half", {"zone/grpo": 1, "zone/zppo": -1}),
    ]
    judged = zone_claims.verdicts(asked, zone_claims.read(tmp_path), resamples=200)
    assert [v.claim.text for v in judged] == ["a", "b", "c", "e"]  # of d there are no runs
    assert [v.word for v in judged] == ["holds", "does not hold", "undecided", "holds"]
    first = judged[0]
    assert first.low < first.mean < first.high
    assert first.mean == pytest.approx(20, abs=1)  # half of 0.4 in points
    assert first.adjusted == pytest.approx(5 * first.p)  # d counts in the correction
    assert judged[3].mean == STEPS + 1 - 6
    assert "undecided" in zone_claims.text(judged)


def test_the_sign_flip_test_is_exact() -> None:
    assert sign_flips([1.0] * 10) == 2 / 1024
    assert sign_flips([1.0, -1.0]) == 1.0
    assert sign_flips([3.0, 1.0, 1.0]) == 2 / 8


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_no_milder_than_the_raw_p_and_no_harsher_than_bonferroni(ps: list[float]) -> None:
    adjusted = holm(ps)
    for raw, p in zip(ps, adjusted, strict=True):
        assert raw <= p <= min(1.0, len(ps) * raw) or math.isclose(p, min(1.0, len(ps) * raw))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_holm_as_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_committed_claims_name_runs_of_the_committed_sweep_and_known_measures() -> None:
    plan = sweep.plan("zone", "", "", "", "", "")
    assert plan.results == "benchmarks/results/zone"
    assert len(plan.seeds) >= 10
    assert set(plan.methods) <= METHODS.keys()
    runs = {f"{scale}/{method}" for scale in plan.scales for method in plan.methods}
    assert len(sweep.members(plan)) == len(plan.methods) * len(plan.seeds)
    counts = ("steps_to_half", "graduated", "graduated_by_tokens")
    claims = zone_claims.claims()
    for claim in claims:
        assert claim.terms.keys() <= runs, claim.text
        assert claim.measure in (*zone_claims.POINTS, *counts)
        assert sum(claim.terms.values()) == 0
    assert (
        len(claims) * 2 / 2 ** len(plan.seeds) < zone_claims.LEVEL
    )  # so that a claim can be decided at all


def test_a_runs_kept_result_has_its_measures_and_every_answer(database_path, tmp_path) -> None:
    path = tmp_path / "kept" / "run.json"
    zone.keep(database_path, "nano-zppo-s0", path, json.dumps({"scale": "nano"}))
    assert len(path.read_text().splitlines()) == 1
    assert path.stat().st_size < 8000
    with open_database(database_path) as connection:
        measured = zone.measures(connection, "nano-zppo-s0")
        scores = dict(
            connection.execute(
                "SELECT benchmark, sum(score)::INT FROM eval_samples "
                "WHERE run_key = 'nano-zppo-s0' AND role = 'student' GROUP BY benchmark"
            ).fetchall()
        )
        (hard,) = connection.execute(
            "SELECT avg(accuracy) FROM groups WHERE run_key = 'nano-zppo-s0' AND step = 3 "
            "AND kind = 'plain' AND category = 'sum'"
        ).fetchone()
    (outcome,) = zone_claims.read(path.parent)
    assert {name: int(right.sum()) for name, right in outcome.right.items()} == scores
    assert outcome.curve[3] == pytest.approx(hard)
    assert outcome.name == "nano/zppo"
    assert list(outcome.student_tokens) == sorted(measured.student_tokens)
    assert measured.area == pytest.approx(np.mean(measured.curve))
    assert 0 < measured.graduated_at_zero <= measured.admitted_at_zero
    with pytest.raises(UserError, match="no rollout step"), open_database(database_path) as c:
        zone.measures(c, "another")


def test_steps_to_half_wants_two_steps_together() -> None:
    assert zone.steps_to([0.0, 0.6, 0.2, 0.5, 0.6], 0.5) == 5
    assert zone.steps_to([0.0, 0.1], 0.5) is None


def test_a_damaged_result_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match="zone-sweep"):
        zone_claims.read(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match=r"a\.json is damaged"):
        zone_claims.read(tmp_path)
