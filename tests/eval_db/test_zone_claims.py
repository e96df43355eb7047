"""The zone's measures and the test of its claims: planted effects are found, and noise is not."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report import zone, zone_claims, zone_page
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
        "teacher_tokens": [1000 * (seed + 1) * (i + 1) for i in range(STEPS)],
        "code_version": "abc",
        "machine": "a machine",
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


def test_one_seed_judges_nothing_and_says_so(tmp_path) -> None:
    write(tmp_path, "zppo", 0, 0.8)
    write(tmp_path, "grpo", 0, 0.4)
    asked = [Claim("a", "area", {"zone/zppo": 1, "zone/grpo": -1})]
    judged = zone_claims.verdicts(asked, zone_claims.read(tmp_path), resamples=20)
    assert judged == []
    assert zone_claims.text(judged) == "No claim has two seeds of all its runs yet.\n"


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


@pytest.mark.parametrize("preset", ["zone", "zone_rivals", "zone_sizes"])
def test_the_committed_claims_name_runs_of_the_committed_sweeps_and_known_measures(preset) -> None:
    plan, first = (sweep.plan(name, "", "", "", "", "") for name in (preset, "zone"))
    assert plan.results == "benchmarks/results/zone"
    assert (plan.seeds, plan.sets) == (first.seeds, first.sets)  # pairs with the first sweep's runs
    assert len(plan.seeds) >= 10
    assert set(plan.methods) <= METHODS.keys()
    runs = {f"{s}/{m}" for p in (plan, first) for s in p.scales for m in p.methods}
    assert len(sweep.members(plan)) == len(plan.methods) * len(plan.seeds)
    counts = ("steps_to_half", "graduated", "graduated_by_tokens")
    claims = zone_claims.claims(preset)
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
        drawn, found, summarised = connection.execute(
            "SELECT sum(tokens) FILTER (purpose = 'draw'), count(*) FILTER (cached), "
            "sum(tokens) FILTER (purpose = 'compress') FROM teacher_draws "
            "WHERE run_key = 'nano-zppo-s0'"
        ).fetchone()
        (hard,) = connection.execute(
            "SELECT avg(accuracy) FROM groups WHERE run_key = 'nano-zppo-s0' AND step = 3 "
            "AND kind = 'plain' AND category = 'sum'"
        ).fetchone()
    (outcome,) = zone_claims.read(path.parent)
    assert {name: int(right.sum()) for name, right in outcome.right.items()} == scores
    assert outcome.curve[3] == pytest.approx(hard)
    assert outcome.name == "nano/zppo"
    assert list(outcome.student_tokens) == sorted(measured.student_tokens)
    assert found > 0  # by cache_teacher, before the first step: they count all the same
    assert drawn < measured.teacher_tokens[-1] <= drawn + summarised
    assert measured.area == pytest.approx(np.mean(measured.curve))
    assert 0 < measured.graduated_at_zero <= measured.admitted_at_zero
    with pytest.raises(UserError, match="no rollout step"), open_database(database_path) as c:
        zone.measures(c, "another")


def test_steps_to_half_wants_two_steps_together() -> None:
    assert zone.steps_to([0.0, 0.6, 0.2, 0.5, 0.6], 0.5) == 5
    assert zone.steps_to([0.0, 0.1], 0.5) is None


@pytest.mark.parametrize("seeds", [5, 12])
def test_an_interval_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    """Also of few seeds, where plain percentiles of a bootstrap are too narrow: 0.82 of five."""
    claim = Claim("a", "area", {"zone/zppo": 1, "zone/grpo": -1})
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(300):
        runs = {}
        for seed in range(seeds):
            for method in ("zppo", "grpo"):
                runs[f"zone/{method}", seed] = outcome(np.full(STEPS, rng.normal(0.4, 0.05)))
        low, high = zone_claims.interval(claim, runs, resamples=400)
        held += low <= 0 <= high
    assert 0.92 < held / 300 < 0.985


def outcome(curve: np.ndarray, tokens: int = 1000) -> zone_claims.Outcome:
    spent = tokens * np.arange(1, len(curve) + 1)
    return zone_claims.Outcome("zone", "m", 0, curve, spent, 9, 0, {}, spent, "", "")


def test_a_point_of_the_curve_lies_where_its_weights_came_from() -> None:
    """The accuracy of a step is measured before its update: its own tokens have taught nothing."""
    run = outcome(np.array([0.0, 0.5, 1.0]))
    assert list(run.spent_before) == [0, 1000, 2000]
    # a line from 0 at no tokens to 1 at 2,000, and level from there to 4,000
    assert zone_claims.value(run, "area_by_tokens", 2000, None) == pytest.approx(50)
    assert zone_claims.value(run, "area_by_tokens", 4000, None) == pytest.approx(75, abs=0.2)


def test_what_seeds_can_resolve_is_found_four_times_out_of_five_by_the_same_test() -> None:
    least = zone_claims.resolvable(8, 0.05)
    rng = np.random.default_rng(0)
    found = sum(sign_flips(rng.normal(least, 1, 8)) <= 0.05 for _ in range(400))
    assert 0.74 < found / 400 < 0.86
    assert zone_claims.resolvable(12, 0.05) < least < zone_claims.resolvable(8, 0.01)
    assert zone_claims.resolvable(8, 0.05 / 26) == math.inf  # 2 of 256 patterns are 0.0078


def test_a_damaged_result_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match="no claims of a sweep 'zonee'; did you mean 'zone'"):
        zone_claims.claims("zonee")
    with pytest.raises(UserError, match="zone-sweep"):
        zone_claims.read(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match=r"a\.json is damaged"):
        zone_claims.read(tmp_path)


def test_the_page_keeps_its_words_and_has_every_method_and_its_curve(tmp_path) -> None:
    results = tmp_path / "results"
    for seed in range(3):
        write(results, "zppo", seed, 0.8)
        write(results, "grpo_replay", seed, 0.2)
        for file in results.glob(f"zone-grpo*-s{seed}.json") if seed else []:
            kept = json.loads(file.read_text())
            file.write_text(json.dumps(kept | {"teacher_tokens": []}))
        write(results, "gspo", seed, 0.5)  # of the sweep zone_rivals
    page = tmp_path / "page.md"
    page.write_text("# Before\n\n<!-- measured -->\nold\n<!-- /measured -->\n\nafter\n")
    options = ["--results", str(results), "--page", str(page)]
    assert zone.main(options) == 0
    first = page.read_text()
    assert zone.main(options) == 0
    assert page.read_text() == first
    assert first.startswith("# Before\n")
    assert first.endswith("after\n")
    assert "old" not in first
    assert "6 runs of 8 rollout steps, of 2 methods; seeds: 0, 1, 2." in first
    rows = [line for line in first.splitlines() if line.startswith("| `")]
    assert [r.split("`")[1] for r in rows] == 2 * ["grpo_replay", "zppo"]
    area = [float(r.split("|")[3].split("±")[0]) for r in rows[:2]]
    assert area == pytest.approx([10, 40], abs=0.5)
    assert [r.split("|")[7].strip() for r in rows[:2]] == [
        "8",
        "16",
    ]  # of grpo_replay the first seed
    rivals = tmp_path / "rivals.md"
    assert zone.main([*options[:3], str(rivals), "--claims", "zone_rivals"]) == 0
    rows = [line for line in rivals.read_text().splitlines() if line.startswith("| `")]
    assert [r.split("`")[1] for r in rows] == 2 * ["zppo", "gspo"]
    assert "ZPPO learns hard kinds sooner than GRPO with replay" in first
    assert max(map(len, first.splitlines())) <= 140
    assert "<svg" in (tmp_path / "pictures/zone_sweep.svg").read_text()
    assert zone.main(["--page", str(page)]) == 2


def test_a_page_shows_its_own_sweeps_runs_and_its_claims_may_name_others(tmp_path, capsys) -> None:
    results, page = tmp_path / "results", tmp_path / "sizes.md"
    for seed in range(2):
        write(results, "grpo_replay_bcq", seed, 0.6)
        write(results, "grpo_replay_ncq", seed, 0.6)
    options = ["--results", str(results), "--page", str(page), "--claims", "zone_sizes"]
    assert zone.main(options) == 2
    assert "no run of the sweep zone_sizes" in capsys.readouterr().err
    for seed in range(2):
        write(results, "grpo_replay_bcq", seed, 0.8, "zone-small")
        write(results, "grpo_replay_ncq", seed, 0.4, "zone-small")
    assert zone.main(options) == 0
    told = page.read_text()
    assert "4 runs of 8 rollout steps, of 2 methods" in told
    area = [float(row.split("|")[3].split("±")[0]) for row in told.splitlines() if "| `" in row][:2]
    assert area == pytest.approx([40, 20], abs=0.5)
    assert "2. BCQ's lead over NCQ is greater for the smaller student" in told
    assert re.search(r"\| 2 +\| area +\| +2 \| +\+20\.", told)
    assert "![Accuracy on hard kinds over steps and tokens](pictures/zone_sizes_sweep.svg)" in told
    assert (tmp_path / "pictures/zone_sizes_sweep.svg").is_file()
    summary = tmp_path / "evidence.md"
    summary.write_text("before\n\n<!-- zone -->\nkept\n<!-- /zone -->\n")
    for _ in range(2):
        assert zone.main([*options[:2], *options[4:], "--summary", str(summary)]) == 0
    before, kept, ours = summary.read_text().partition("kept\n<!-- /zone -->\n")
    assert before + kept == "before\n\n<!-- zone -->\nkept\n<!-- /zone -->\n"
    assert ours.count("<!-- zone_sizes -->") == ours.count("<!-- /zone_sizes -->") == 1
    assert "1. the smaller student learns more by BCQ than by NCQ.\n" in ours
    assert ours.count("| undecided |") == 4


def test_a_curve_is_smoothed_and_ends_at_the_fewest_tokens(tmp_path) -> None:
    for seed in range(2):
        write(tmp_path, "zppo", seed, 0.8)
    runs = zone_claims.read(tmp_path)
    steps, percents = zone_page.curve(runs)
    assert list(steps) == [2, 3, 4, 5, 6, 7]
    assert percents == pytest.approx([80 * i / 7 for i in range(1, 7)], abs=0.5)
    tokens, at = zone_page.by_tokens(runs)
    assert (tokens[0], tokens[-1]) == (0, STEPS - 1)
    assert at[-1] == pytest.approx(80, abs=1)
