"""Standard errors and intervals where samples share a problem, a picture or a video."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from eval import fixtures, harness
from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import read_rows
from eval.judges import Judge
from eval.protocol import EvalSample, Evaluator
from eval.rows import Source
from eval.scores import pack, unpack
from eval.scoring import totals
from eval.scoring.clusters import Clustered, Stratum
from eval.suite import SUITES, load
from zppo_core.config import EvaluationConfig
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.records.schema import decode, encode
from zppo_core.rewards.grader import Grader

ROOT = Path(__file__).parents[2]
PAPER = {b.name: b for b in SUITES["paper31"]}
VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=30)
# values of each cluster
CLUSTERS = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=2, max_size=9)
SHARES = st.lists(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4), min_size=2, max_size=9
)
Marks = tuple[list[tuple[str, float]], dict[str, str]]


def marked(clusters: list[list[float]], groups: int = 1) -> Marks:
    """(scored, clusters) of samples "group/row", each cluster's in the groups in turn."""
    ids = {
        f"g{k % groups}/{g}.{k}": (f"c{g:03}", value)
        for g, values in enumerate(clusters)
        for k, value in enumerate(values)
    }
    return [(i, v) for i, (_, v) in ids.items()], {i: c for i, (c, _) in ids.items()}


def table(clusters: list[list[float]]) -> Clustered:
    names = [f"c{g}" for g, values in enumerate(clusters) for _ in values]
    return Clustered.of([Stratum(np.concatenate(clusters), names, 1.0)])


@given(VALUES)
def test_a_sample_a_cluster_is_the_plain_standard_error(values):
    plain = np.std(values, ddof=1) / math.sqrt(len(values))
    assert table([[v] for v in values]).stderr() == pytest.approx(plain, abs=1e-12)
    scored = [(f"{i}", v) for i, v in enumerate(values)]
    assert totals.total("pooled", scored).stderr == pytest.approx(plain, abs=1e-12)
    alone = {i: f"of {i}" for i, _ in scored}
    named = totals.total("pooled", scored, alone)
    assert (named.stderr, named.clusters) == (pytest.approx(plain, abs=1e-12), len(values))


def test_the_standard_error_by_hand():
    """Residuals of -1/2 and 1/2 in n = 5 around 3/5: two clusters, CR0 times 2 / (2 - 1)."""
    by_cluster = [[1.0, 1.0, 1.0], [0.0, 0.0]]
    cr0 = (3 * 0.4 / 5) ** 2 + (2 * -0.6 / 5) ** 2
    assert table(by_cluster).stderr() == pytest.approx(math.sqrt(2 * cr0))
    assert table([[1.0, 0.0], [0.0, 1.0]]).stderr() == 0.0


NAMES = ["pooled", "mean_of_groups", "half_or_more", "worst", "wemath_strict", "only:g0"]


@given(st.one_of(CLUSTERS, SHARES), st.sampled_from(NAMES), st.randoms())
def test_the_order_of_samples_changes_nothing(clusters, name, random):
    scored, shared = marked(clusters, groups=2)
    if name == "wemath_strict":  # each cluster a problem, its first sample the whole
        whole = {i: f"{c}/{i}" + ("multi" if i.endswith(".0") else "") for i, c in shared.items()}
        scored, shared = [(whole[i], v) for i, v in scored], {whole[i]: shared[i] for i in shared}
    mixed = random.sample(scored, len(scored))
    one, other = (totals.total(name, s, shared) for s in (scored, mixed))
    assert (one is None) == (other is None)
    if one is not None:
        assert asdict(other) == pytest.approx(asdict(one), abs=1e-9)


@given(CLUSTERS, st.integers(2, 4))
def test_saying_each_sample_again_within_its_cluster_adds_no_certainty(clusters, k):
    again = [own * k for own in clusters]
    assert table(again).stderr() == pytest.approx(table(clusters).stderr(), abs=1e-9)
    once, more = (totals.total("pooled", *marked(c)) for c in (clusters, again))
    assume(any(v not in (0.0, 1.0) for own in clusters for v in own))
    assert (more.low, more.high) == pytest.approx((once.low, once.high), abs=1e-9)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=30), st.integers(1, 4))
@example([1.0, 1.0, 1.0], 3)
def test_wilsons_interval_of_copies_is_that_of_one(values, k):
    """Also where all are right, and nothing shows how alike a cluster's samples are."""
    made = totals.total("pooled", *marked([[v] * k for v in values]))
    assert (made.low, made.high) == pytest.approx(totals.wilson(sum(values), len(values)))
    assert (made.units, made.clusters) == (k * len(values), len(values))


@given(SHARES)
def test_clusters_never_make_a_shares_interval_narrower(clusters):
    scored, shared = marked(clusters)
    own, alone = totals.total("pooled", scored, shared), totals.total("pooled", scored)
    assert own.high - own.low >= alone.high - alone.low - 1e-12
    assert own.score == alone.score


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=2, max_size=20))
def test_a_problem_once_in_each_stratum_counts_as_its_mean(problems):
    """MMMU-Pro: three configurations ask the same problems."""
    made = totals.total("mean_of_groups", *marked([list(p) for p in problems], groups=3))
    means = [sum(p) / 3 for p in problems]
    plain = np.std(means, ddof=1) / math.sqrt(len(means))
    assert made.stderr == pytest.approx(plain, abs=1e-9)
    alone = totals.total("pooled", [(f"{i:03}", v) for i, v in enumerate(means)])
    assume(any(v not in (0.0, 1.0) for v in means))
    assert (made.low, made.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


@given(st.lists(VALUES, min_size=2, max_size=5))
def test_strata_without_a_common_cluster_add_their_variances(groups):
    scored = [(f"g{h}/{i}", v) for h, own in enumerate(groups) for i, v in enumerate(own)]
    variance = sum(np.var(own, ddof=1) / len(own) for own in groups) / len(groups) ** 2
    made = totals.total("mean_of_groups", scored)
    assert made.stderr == pytest.approx(math.sqrt(variance), abs=1e-9)


def test_strata_that_share_clusters_by_others_are_drawn_together():
    """a and b share one, b and c another: a draw may lack c, which then keeps its mean."""
    names = [["1", "2"], ["2", "3"], ["3"], ["4", "5"]]
    strata = [Stratum(np.array([0.0, 1.0][: len(n)]), n, 0.25) for n in names]
    blocks = [(g.tolist(), h.tolist()) for g, h in Clustered.of(strata)._blocks()]
    assert blocks == [
        ([True, True, True, False, False], [True, True, True, False]),
        ([False, False, False, True, True], [False, False, False, True]),
    ]
    low, high = Clustered.of(strata).interval(np.random.default_rng(0))
    assert 0 <= low < high <= 0.75


def test_a_total_of_whole_problems_has_problems_as_units():
    scored, shared = marked([[1.0] * 10, [1.0] * 9 + [0.0], [1.0] * 10])
    scored = [(f"{shared[i]}/{n}", v) for n, (i, v) in enumerate(scored)]
    named = {i: i.partition("/")[0] for i, _ in scored}
    own, alone = totals.total("worst", scored, named), totals.total("worst", scored)
    assert own == alone
    assert (own.units, own.clusters) == (3, 3)
    assert (own.low, own.high) == totals.wilson(2, 3)
    # the mean over samples has the same three clusters
    assert totals.total("pooled", scored, named).clusters == 3


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    place = ROOT / "benchmarks" / "bench_intervals.py"
    spec = importlib.util.spec_from_file_location("bench_intervals", place)
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "bench_intervals", module)  # for its dataclass
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def fewer(monkeypatch) -> None:
    """Resamples: of 2,000 a minute goes by."""
    monkeypatch.setattr("eval.scoring.clusters.RESAMPLES", 300)


@pytest.mark.parametrize("total", ["pooled", "mean_of_groups"])
def test_a_score_s_interval_holds_the_truth_as_often_as_it_says(bench, fewer, total):
    found = bench.scores(bench.Shape("small", 100, 5, total), 0.5, 400)
    assert 93 <= found["clustered, % held"] <= 97
    assert found["naive, % held"] < 82
    assert found["width, times"] == pytest.approx(math.sqrt(1 + 4 * 0.5), rel=0.05)


def test_a_difference_s_interval_and_p_hold_as_often_as_they_say(bench, fewer):
    found = bench.differences(bench.Shape("small", 100, 5), 0.5, 400)
    assert 93 <= found["clustered, % held"] <= 97
    assert found["naive, % held"] < 93
    assert found["clustered, % p < 0.05"] <= 6
    assert found["naive, % p < 0.05"] > 7


# of the fixtures: samples, and clusters of them
FOUND = {
    "AI2D": (4, 4),
    "CharXiv": (20, 2),  # four rows on two charts
    "DynaM": (30, 3),
    "MVerse": (5, 1),
    "MMMUPro": (6, 2),
    "WeMath": (7, 2),
    "VMME": (6, 3),
    "VMMES": (6, 3),
    "VMMMU": (8, 4),
    "MMVU": (4, 4),
    "MVBench": (21, 21),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.build(folder)
    return str(folder)


@pytest.mark.parametrize("name", sorted(PAPER))
def test_samples_have_a_cluster_where_the_record_names_a_column(source, name):
    samples = list(load(PAPER[name], source))
    names = [None if s.cluster is None else s.cluster() for s in samples]
    assert all(bool(n) == bool(PAPER[name].cluster) for n in names)
    if name in FOUND:
        assert (len(samples), len(set(names))) == FOUND[name]


def test_a_score_is_over_the_clusters_of_its_samples(source):
    """All questions on one of two charts right: one of two, and not ten of twenty."""
    protocol = EvaluationConfig(source=source)
    charts = {s.id: s.cluster() for s in load(PAPER["CharXiv"], source)}
    right = charts["reasoning/0"]
    judge = Judge(ScriptedEngine(lambda p, m: json.dumps({"extracted_answer": "", "score": 1})))
    evaluator = Evaluator(protocol, Templates(), Grader(), judge)
    samples, _ = harness.evaluate(
        ScriptedEngine(lambda p, m: r"\boxed{1}"), PAPER["CharXiv"], evaluator, False
    )
    assert {s.sample_id: s.cluster for s in samples} == charts
    marked = [replace(s, score=float(s.cluster == right)) for s in samples]
    score = harness.summarise(PAPER["CharXiv"], evaluator, [harness.ScoredPart(tuple(marked))])
    share = sum(s.score for s in marked) / 20
    assert (score.n, score.clusters, score.score) == (20, 2, share)
    assert score.stderr == pytest.approx(math.sqrt(2 * 2) * 15 / 20 * (1 - 15 / 20))
    # the next code finds all of it in the rows
    rows, row = harness.rows_of(
        harness.Scored("m", "r", "student", "paper31", "p", "CharXiv", "VLM"), marked, score
    )
    kept = decode("eval_samples", encode("eval_samples", rows)).column("cluster").to_pylist()
    assert kept == [s.cluster for s in samples]
    assert decode("eval_scores", encode("eval_scores", [row])).column("clusters").to_pylist() == [2]


def column(folder: Path, name: str, change) -> None:
    """Change a column of the first file of a fixture."""
    file = min(folder.rglob("*.parquet"))
    rows = pq.read_table(file)
    at = rows.schema.get_field_index(name)
    values = pa.array(change(rows[name].to_pylist()), rows.schema.field(name).type)
    pq.write_table(rows.set_column(at, rows.schema.field(name), values), file)


def test_questions_on_one_picture_share_a_cluster_and_no_picture_is_read_for_it(
    tmp_path, monkeypatch
):
    (folder,) = fixtures.build(tmp_path, ["AI2D"]).values()
    column(folder, "image", lambda cells: [cells[0], cells[1], cells[0], cells[3]])
    read = []
    from eval.rows import Row

    stored = Row._stored
    monkeypatch.setattr(Row, "_stored", lambda row, c: read.append(row.index) or stored(row, c))
    samples = list(load(PAPER["AI2D"], str(tmp_path)))
    assert read == []
    names = [s.cluster() for s in samples]
    assert names[0] == names[2]
    assert len(set(names)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", n) for n in names)


def test_variants_without_common_ids_share_the_row(tmp_path):
    (folder,) = fixtures.build(tmp_path, ["DynaM"]).values()
    column(folder, "id", lambda ids: [f"other {i}" for i in ids])
    names = Counter(s.cluster() for s in load(PAPER["DynaM"], str(tmp_path)))
    assert names == {f"row {i}": 10 for i in range(3)}


def test_spans_of_one_video_and_tasks_on_one_video_share_a_cluster():
    from eval.benchmarks.mvbench import whole_video

    def of(config: str, video: str, **span: float) -> str:
        row = {"video": video, **span}
        return whole_video(type("Row", (dict,), {"config": config})(row))

    cut = of("action_sequence", "ZS9XR_1.5_3.0.mp4", start=1.5, end=3.0)
    assert cut == of("action_prediction", "ZS9XR.mp4", start=4.0, end=9.0)
    assert of("moving_count", "video_1.mp4") == of("object_existence", "video_1.mp4")
    assert of("moving_count", "video_1.mp4") != of("character_order", "video_1.mp4")
    assert of("episodic_reasoning", "a.clip.b") == "tvqa/video_fps3_hq_segment/a.clip.b"


def test_a_benchmark_of_one_s_own_names_its_column_or_each_sample_s_cluster(tmp_path):
    """k responses of one question: rows of one value, or samples that say it themselves."""
    folder = tmp_path / "my/own"
    folder.mkdir(parents=True)
    rows = {"text": ["a", "b", "c"], "page": ["1", "1", "2"]}
    pq.write_table(pa.table(rows), folder / "test-0.parquet")
    record = Benchmark("Own", "LLM", "my/own", "test", 3, "text", cluster="page")

    def samples(own: Benchmark, **more) -> list[Sample]:
        place = Source(str(tmp_path), own)
        read = read_rows(place, ["text"], lambda r: Sample(r["text"], r["text"], "", **more))
        return list(read)

    assert [s.cluster() for s in samples(record)] == ["1", "1", "2"]
    assert [s.cluster() for s in samples(record, cluster=lambda: "x")] == ["x"] * 3
    assert [s.cluster for s in samples(replace(record, cluster=""))] == [None] * 3


def test_parts_that_an_older_code_kept_are_read():
    from eval.harness import ScoredPart

    sample = EvalSample("1", "", "", None, "none", "choice", "5", 0.0, "wrong", 1, cluster="v")
    kept = pack(ScoredPart((sample,)))
    assert unpack(kept).samples == (sample,)
    older = kept.replace(b'"cluster": "v", ', b"")
    assert older != kept
    assert unpack(older).samples == (replace(sample, cluster=None),)


def test_the_page_lists_the_cluster_of_every_benchmark():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `?(\w*)`?(?: \(digest\))? \| ([^|]+) \|$", text, re.MULTILINE)
    listed = {
        name: "" if column == "none" else column
        for column, names in rows
        for name in names.split(", ")
        if name in PAPER
    }
    assert listed == {name: record.cluster for name, record in PAPER.items()}
