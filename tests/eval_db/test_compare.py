"""Paired comparison of two runs: exact tests by hand, pairs by id, no mixing of protocols."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from synthetic import MemoryJournal, Spec, build

from eval.report import compare
from eval.report.compare import holm, mcnemar
from eval.report.database import ingest
from eval.scoring import totals
from eval.settings import parse
from eval.suite import find


@pytest.fixture
def database(tmp_path):
    specs = [Spec(method=m, seed=s, steps=1, samples=40) for m in ("zppo", "grpo") for s in (0, 1)]
    return build(tmp_path / "two.duckdb", specs)


def found(database, a="nano-zppo-s0", b="nano-grpo-s0"):
    with duckdb.connect(str(database), read_only=True) as c:
        return {(d.family, d.benchmark): d for d in compare.compare(c, a, b)}


def test_mcnemar_is_the_binomial_test_of_the_differing_questions():
    # 8 : 2 of 10 fair coins: 2 (1 + 10 + 45) / 1024
    assert mcnemar([1] * 8 + [-1] * 2 + [0] * 7) == pytest.approx(2 * 56 / 1024)
    assert mcnemar([]) == mcnemar([0]) == 1.0
    assert mcnemar([1, -1] * 5) == pytest.approx(1.0)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_a_cluster_changes_sides_as_a_whole(nets):
    """Against all signs, tried one after the other."""
    signs = itertools.product((1, -1), repeat=len(nets))
    sums = [abs(sum(s * n for s, n in zip(pattern, nets, strict=True))) for pattern in signs]
    share = sum(s >= abs(sum(nets)) for s in sums) / len(sums)
    assert mcnemar(nets) == pytest.approx(share)


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
    assert rows.p == pytest.approx(binomtest(better, better + worse).pvalue)
    # of gaps of 1, 0 and -1, each sample alone
    variance = (better + worse - (better - worse) ** 2 / n) / (n - 1)
    assert (rows.clusters, rows.stderr) == (n, pytest.approx(100 * math.sqrt(variance / n)))
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
    [
        ("nano-zppo-s0", "nano-zppo-s0", "same run"),
        ("nano-zppo", "nano-grpo-s0", "several runs"),
        ("nano-zppo-s0", "nothing", "no run"),
    ],
)
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


@pytest.fixture
def judged(tmp_path):
    """A builder of a database in which `mine` and `yours` answered one benchmark of the paper's."""

    def made(benchmark, mine, yours, chosen="", family="VLM", clusters=totals.NONE, into=None):
        record = find("paper31", benchmark)
        name_of_total = parse(chosen).total_of(benchmark, record.totals)
        journal = MemoryJournal()
        for name, scores in (("mine", mine), ("yours", yours)):
            key = {
                "model_key": name,
                "run_key": None,
                "role": name,
                "suite": "paper31",
                "protocol_key": "p1",
                "benchmark": benchmark,
                "family": family,
            }
            samples = [
                {
                    **key,
                    "sample_id": i,
                    "prompt_digest": i,
                    "output": "",
                    "answer": "",
                    "extractor": "box",
                    "scorer": "judge",
                    "scorer_version": "1",
                    "score": x,
                    "outcome": "partial",
                    "tokens": 1,
                    "cluster": clusters.get(i),
                }
                for i, x in scores.items()
            ]
            total = totals.total(name_of_total, list(scores.items()), clusters)
            score = (
                key | asdict(total) | {"n": len(scores), "expected_n": len(scores), "unparsed": 0}
            )
            del score["units"]
            journal.commit(
                f"eval/{name}/{benchmark}", {"eval_samples": samples, "eval_scores": [score]}
            )
        path = into or tmp_path / "judged.duckdb"
        if into is None:
            path.unlink(missing_ok=True)
        ingest(journal, "models", path)
        return path

    return made


def named(*scores, groups=1):
    """Scores by ids, in `groups` groups in turn."""
    return {
        f"{i % groups}/{i // groups}" if groups > 1 else str(i): x for i, x in enumerate(scores)
    }


def test_a_and_b_are_the_benchmark_s_own_total_and_not_the_mean_of_samples(judged):
    path = judged("MM-Vet", named(0.5, 0.5, 0.5, 0.5), named(0.4, 0.4, 1.0, 1.0))
    own, mean = (found(path, "mine", "yours")["VLM", b] for b in ("MM-Vet", "mean"))
    assert (own.total, own.a, own.b, own.difference) == ("half_or_more", 100, 50, 50)
    assert (mean.a, mean.b, mean.difference) == (100, 50, 50)
    assert 0 <= own.low < 50 < own.high <= 100  # of the mean it would reach from -50 to 10
    # counts and test stay those of samples
    assert (own.better, own.worse, own.p, own.n) == (2, 2, 1.0, 4)


def test_the_worst_case_is_compared_by_whole_groups(judged):
    """One wrong variant of ten costs the whole question, and questions are what is resampled."""
    path = judged("DynaM", named(*[1.0] * 20, groups=2), named(0.0, *[1.0] * 19, groups=2))
    own = found(path, "mine", "yours")["VLM", "DynaM"]
    assert (own.a, own.b, own.n, own.better) == (100, 50, 20, 1)
    assert (own.low, own.high) == (0, 100)


def test_categories_weigh_the_same_where_they_do_in_the_score(judged):
    mine = {f"big/{i}": 1.0 for i in range(9)} | {"small/0": 0.0}
    yours = {f"big/{i}": 0.0 for i in range(9)} | {"small/0": 1.0}
    own = found(judged("OCREN", mine, yours), "mine", "yours")["VLM", "OCREN"]
    assert (own.total, own.a, own.b) == ("mean_of_groups", 50, 50)
    other = found(judged("OCREN", mine, yours, "totals=OCREN=pooled"), "mine", "yours")
    assert (other["VLM", "OCREN"].total, other["VLM", "OCREN"].a) == ("pooled", 90)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from(["AI2D", "MM-Vet", "DynaM", "OCREN", "WeMath", "MMMUPro"]))
def test_compared_values_are_the_stored_totals_on_shared_samples(data, benchmark):
    keys = ["2steps_1", "2steps_2", "2steps_multi"]
    groups = ("vision", "standard (10 options)", "standard (4 options)")
    ids = [f"{group}/{key}" for group in groups for key in keys]
    values = st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=9, max_size=9)
    mine, yours = data.draw(values), data.draw(values)
    name = find("paper31", benchmark).totals[0]
    part = compare._paired(name, list(zip(ids, mine, yours, strict=True)), {})
    made = compare._difference("VLM", benchmark, name, [part], 0)
    for value, scores in ((made.a, mine), (made.b, yours)):
        total = totals.total(name, list(zip(ids, scores, strict=True)))
        assert value == pytest.approx(100 * total.score)
    assert -100 <= made.low <= made.high <= 100


def test_samples_on_one_video_are_compared_as_one(judged):
    """Four videos of three questions: mine is better on three of them, on all its questions."""
    ids = [f"short/{v}-{q}" for v in range(4) for q in range(3)]
    videos = {i: i[6] for i in ids}
    mine, yours = ({i: float((i[6] == "0") is lost) for i in ids} for lost in (False, True))
    arguments = ("VMME", mine, yours, "", "Video")
    alone = found(judged(*arguments), "mine", "yours")["Video", "VMME"]
    path = judged(*arguments, clusters=videos)
    own = found(path, "mine", "yours")["Video", "VMME"]
    assert (own.n, own.clusters, alone.clusters) == (12, 4, 12)
    assert (own.difference, own.better, own.worse) == (50, 9, 3)
    # gaps of 100, 100, 100 and -100: their deviation over the root of four
    assert own.stderr == pytest.approx(50)
    assert alone.stderr == pytest.approx(100 * math.sqrt(0.75 / 11))
    assert (own.low, alone.low) == (-50, 0)
    assert own.p == pytest.approx(binomtest(3, 4).pvalue)
    assert alone.p == pytest.approx(binomtest(9, 12).pvalue)
    # as the score itself, from the stored samples: its interval is that of the run
    with duckdb.connect(str(path), read_only=True) as c:
        stored = c.execute(
            "SELECT 100 * low, 100 * high, clusters FROM eval_scores WHERE model_key = 'mine'"
        ).fetchone()
    (shown,) = [t for t in listed(path).values() if t.stored]
    assert (shown.low, shown.high, shown.clusters) == (*map(pytest.approx, stored[:2]), 4)
    assert stored[2] == 4


def test_both_video_mmes_share_their_videos_in_the_family_s_mean(judged):
    ids = [f"short/{v}-{q}" for v in range(8) for q in range(3)]
    videos = {i: i[6] for i in ids}
    mine, yours = ({i: float(int(i[6]) % 4 != lost) for i in ids} for lost in (0, 9))
    path = judged("VMME", mine, yours, family="Video", clusters=videos)
    judged("VMMES", mine, yours, family="Video", clusters=videos, into=path)
    both = found(path, "mine", "yours")
    assert both["Video", "mean"].clusters == both["Video", "VMME"].clusters == 8
    # the same answers twice say no more than once
    assert both["Video", "mean"].stderr == pytest.approx(both["Video", "VMME"].stderr)
    # what stands alone has its benchmark's name: equal ids of two benchmarks are no cluster
    path = judged("VMME", mine, yours, family="Video")
    judged("VMMES", mine, yours, family="Video", into=path)
    assert found(path, "mine", "yours")["Video", "mean"].clusters == 48


def test_a_score_that_is_no_total_of_its_samples_is_refused(judged, capsys):
    path = judged("DynaM", named(1.0, 0.0, 1.0, 1.0, groups=2), named(*[1.0] * 4, groups=2))
    with duckdb.connect(str(path)) as c:
        c.execute("UPDATE eval_scores SET score = 0.123 WHERE model_key = 'mine'")
    assert compare.main(["mine", "yours", "--database", str(path)]) == 2
    assert "none of its totals (worst, pooled)" in capsys.readouterr().err


def listed(path, name="mine"):
    with duckdb.connect(str(path), read_only=True) as c:
        return {t.total: t for t in compare.all_totals(c, name)}


def test_every_total_comes_from_stored_samples_and_the_stored_one_is_marked(judged):
    made = listed(judged("DynaM", named(1.0, 0.0, 1.0, 1.0, groups=2), named(1.0, 1.0)))
    assert {n: (t.score, t.stored, t.units) for n, t in made.items()} == {
        "worst": (50, True, 2),
        "pooled": (75, False, 4),
    }
    path = judged("DynaM", named(1.0, 0.0, 1.0, 1.0, groups=2), named(1.0), "totals=DynaM=pooled")
    assert [n for n, t in listed(path).items() if t.stored] == ["pooled"]


def test_totals_break_down_by_threshold_by_group_and_within_groups(judged):
    made = listed(judged("MM-Vet", named(0.3, 0.5, 0.7, 1.0), named(0.0)))
    shares = {n: t.score for n, t in made.items()}
    assert (shares["half_or_more"], shares["pooled"]) == (75, pytest.approx(62.5))
    assert [shares[f"{t} or more"] for t in (0.1, 0.3, 0.4, 0.7, 0.8, 1.0)] == [
        100,
        100,
        75,
        50,
        25,
        25,
    ]
    durations = {"short/a": 1.0, "short/b": 0.0, "long/c": 0.0}
    made = listed(judged("VMME", durations, named(0.0), family="Video"))
    assert {n: t.score for n, t in made.items() if n.startswith("only:")} == {
        "only:long": 0,
        "only:short": 50,
    }
    subjects = {"ok/anatomy/0": 1.0, "wrong/anatomy/1": 0.0, "ok/virology/0": 1.0}
    made = listed(judged("MMLU-Rd", subjects, named(0.0), family="LLM"))
    assert (made["*/anatomy"].score, made["*/virology"].score, made["only:ok"].score) == (
        50,
        100,
        100,
    )
    problems = {
        f"{p}/{k}": float(k != "2steps_1")
        for p in range(2)
        for k in ("2steps_1", "2steps_2", "2steps_multi")
    }
    made = listed(judged("WeMath", problems, named(0.0)))
    assert {n: t.score for n, t in made.items()} == {
        "pooled": pytest.approx(200 / 3),
        "wemath_loose": 100,
        "wemath_strict": 0,
    }


def test_the_totals_of_a_run_and_of_nobody(database, capsys):
    arguments = ["--database", str(database)]
    assert compare.main(["--totals", "nano-zppo-s0", *arguments]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("suite nano, protocol p1")
    assert shown.count("pooled*") == 5
    assert compare.main(["--totals", "nano-zppo-s0", "--json", *arguments]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    assert compare.main(["--totals", "nobody", *arguments]) == 2
    assert "no run" in capsys.readouterr().err
