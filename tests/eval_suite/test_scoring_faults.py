"""Limits, missing variants, rows too many, rules that break: what a score says of its samples."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import fixtures, harness
from eval.benchmark import Benchmark, Sample
from eval.protocol import Evaluator
from eval.scoring.rules import RULES
from eval.suite import SUITES, _whole_groups, load
from zppo_core.config import EvaluationConfig
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader

PAPER = {b.name: b for b in SUITES["paper31"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.build(folder, ["AI2D", "DynaM", "InfoVQA", "WeMath"])
    return str(folder)


def evaluate(
    record: Benchmark,
    source: str,
    answer: str = "A",
    limit: int = 0,
) -> harness.EvalScore:
    """The score of a model that always gives one answer."""
    evaluator = Evaluator(EvaluationConfig(source=source, limit=limit), Templates(), Grader())
    engine = ScriptedEngine(lambda p, m: rf"\boxed{{{answer}}}")
    return harness.evaluate(engine, record, evaluator, False)[1]


@pytest.mark.parametrize(
    ("name", "limit", "groups"),
    [("DynaM", 10, 1), ("DynaM", 25, 2), ("DynaM", 100, 3), ("WeMath", 4, 1), ("WeMath", 7, 2)],
)
def test_a_limit_takes_whole_groups_where_a_total_needs_them(source, name, limit, groups):
    everything = [s.id for s in load(PAPER[name], source)]
    chosen = [s.id for s in load(PAPER[name], source, limit)]
    own = {i.partition("/")[0] for i in chosen}
    assert len(own) == groups
    assert len(chosen) <= limit
    assert chosen == [i for i in everything if i.partition("/")[0] in own]  # whole, and in order


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(3, 4), min_size=1, max_size=60), st.integers(4, 250))
def test_less_than_a_group_of_a_limit_is_left_over_and_the_groups_are_spread(sizes, limit):
    ids = [(f"p{g}", f"p{g}/{k}") for g, size in enumerate(sizes) for k in range(size)]
    samples = [Sample(i, "q", "A") for _, i in ids]
    chosen = _whole_groups(PAPER["WeMath"], samples, limit)
    assert min(limit, len(ids)) - 4 < len(chosen) <= limit
    own = {s.id.partition("/")[0] for s in chosen}
    assert [s.id for s in chosen] == [i for group, i in ids if group in own]
    if len(own) > 1:  # as many in the first half as in the second, but for one at each end
        half = sum(int(group[1:]) < len(sizes) / 2 for group in own)
        assert abs(half - len(own) / 2) <= 2 + len(own) / 7


def test_a_limit_that_holds_no_group_is_named_with_what_to_set(source):
    score = evaluate(PAPER["DynaM"], source, limit=9)
    assert score.score is None
    assert score.missing_reason.endswith("set evaluation.limit to 10 or more")


def test_the_rest_of_a_limit_that_holds_no_group_is_no_fault(source):
    score = evaluate(replace(PAPER["DynaM"], expected=30), source, limit=25)
    assert (score.n, score.expected_n, score.missing_reason) == (20, 20, None)
    # the fixture has three questions of the 501
    assert evaluate(PAPER["DynaM"], source, limit=100).missing_reason == "30 of 100 samples"


def dynamath(folder: Path, change) -> tuple[list[Sample], harness.EvalScore]:
    """The fixture with the rows of each variant as `change(variant, rows)` makes them."""
    (place,) = fixtures.build(folder, ["DynaM"]).values()
    for file in place.rglob("*.parquet"):
        variant = int(file.name.partition("-")[0].removeprefix("sample_variant"))
        table = pq.read_table(file)
        changed = pa.Table.from_pylist(change(variant, table.to_pylist()), table.schema)
        pq.write_table(changed, file)
    record = replace(PAPER["DynaM"], expected=30)
    return list(load(record, str(folder))), evaluate(record, str(folder), "even")


def test_dynamaths_variants_belong_together_by_id_or_else_by_their_place(tmp_path):
    def turned(variant, rows):
        return rows[::-1] if variant == 4 else rows

    samples, score = dynamath(tmp_path / "turned", turned)
    assert {s.id.partition("/")[0] for s in samples} == {"0", "1", "2"}
    assert score.score == pytest.approx(1 / 3)  # seed 2 is "even" in every variant

    def renamed(variant, rows):
        return [row | {"id": f"{variant}-{row['id']}"} for row in rows]

    samples, score = dynamath(tmp_path / "renamed", renamed)
    assert {s.id.partition("/")[0] for s in samples} == {"row 0", "row 1", "row 2"}
    assert len({s.id for s in samples}) == 30
    assert (score.score, score.missing_reason) == (pytest.approx(1 / 3), None)


def test_a_variant_that_no_question_has_is_named_and_so_is_a_question_without_one(tmp_path):
    broken = {"decoded_image": {"bytes": b"no picture", "path": None}}
    _, score = dynamath(
        tmp_path / "all", lambda v, rows: [r | broken for r in rows] if v == 7 else rows
    )
    assert score.missing_reason.startswith("27 of 30 samples; 3 unreadable, first 0/7: ")
    assert score.missing_reason.endswith("; variant 7 is missing for every question")
    _, score = dynamath(tmp_path / "one", lambda v, rows: rows[:2] if v == 7 else rows)
    assert score.missing_reason.startswith("29 of 30 samples; 1 of 3 questions lack a variant")


def without(folder: Path, *names: str) -> str:
    """The fixture of Video-MME with subtitles, without some of the files in its archives."""
    (place,) = fixtures.build(folder, ["VMMES"]).values()
    for archive in place.glob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            members = {n: opened.read(n) for n in opened.namelist() if n not in names}
        archive.unlink()
        if members:
            with zipfile.ZipFile(archive, "w") as written:
                for name, data in members.items():
                    written.writestr(name, data)
    return str(folder)


def test_a_video_without_subtitles_is_asked_and_a_data_set_without_any_is_a_fault(tmp_path):
    some = without(tmp_path / "some", "subtitle/own3.srt")
    contexts = [s.context() for s in load(PAPER["VMMES"], some) if s.context]
    assert ["No subtitles" in context for context in contexts] == [False, False, *[True] * 4]
    none = without(tmp_path / "none", "subtitle/own1.srt", "subtitle/own3.srt")
    score = evaluate(PAPER["VMMES"], none)
    assert (score.n, score.score) == (0, None)
    assert "no subtitles of any video" in score.missing_reason
    assert "hf download" in score.missing_reason
    assert score.missing_reason.endswith("with subtitle.zip")


def test_a_sample_whose_subtitles_cannot_be_laid_out_is_named_and_the_others_go_on(tmp_path):
    """The length of a video that is not there is unknown, and so are the lines at its frames."""
    score = evaluate(PAPER["VMMES"], without(tmp_path, "data/own3.mp4"))
    assert score.n == 4
    assert score.missing_reason.startswith("4 of 2700 samples; 2 unreadable, first long/003-1: no")


def test_more_rows_than_the_benchmark_has_are_a_fault_that_is_named(source):
    score = evaluate(replace(PAPER["AI2D"], expected=3), source)
    assert (score.n, score.expected_n) == (4, 3)
    assert score.missing_reason.startswith("4 samples, 1 more than the 3 of this benchmark; pin")
    assert evaluate(replace(PAPER["AI2D"], expected=4), source).missing_reason is None


def test_an_answer_that_its_rule_breaks_on_is_wrong_and_named_with_the_score(source, monkeypatch):
    def broken(sample: Sample, answer: str) -> float:
        if sample.gold == "New York":
            raise OverflowError("too large")
        return 1.0

    monkeypatch.setitem(RULES, "anls", broken)
    score = evaluate(PAPER["InfoVQA"], source)
    assert (score.n, score.score) == (4, 0.75)
    assert score.missing_reason == (
        "4 of 2801 samples; 1 wrong by a fault of their rule, first 1: OverflowError: too large"
    )
