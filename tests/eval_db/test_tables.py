"""The paper's tables: exact cells, the published value beside ours and never in its place."""

from __future__ import annotations

import csv
import io
import json
import shutil

import duckdb
import pytest
from synthetic import Spec, build, paper_benchmarks

from eval.render import FORMATS, MISSING, render, render_all
from eval.report import tables
from eval.report.connection import open_database
from eval.report.paper_tables import PAPER_SCALES, TABLES, blocks, published
from zppo_core.config import load
from zppo_core.errors import UserError


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory):
    """A run at 0.8B whose every benchmark is missing."""
    names = paper_benchmarks()
    everything = tuple(b for own in names.values() for b in own)
    spec = Spec(
        method="grpo", scale="0.8B", steps=1, samples=2, benchmarks=names, missing=everything
    )
    return build(tmp_path_factory.mktemp("empty") / "empty.duckdb", [spec])


def made(path, number: int, *scales: str):
    with open_database(path) as connection:
        return blocks(connection, number, scales)


def test_there_is_every_table_of_the_paper_but_those_without_results():
    assert set(TABLES) == {1, 2, 3, 4, *range(9, 22)}


def test_a_cell_is_the_mean_over_seeds_with_its_deviation_beside_the_published(database_path):
    (block,) = [b for b in made(database_path, 1) if "0.8B" in b.title]
    rows = dict(block.rows)
    with duckdb.connect(str(database_path), read_only=True) as c:
        score = c.execute(
            "SELECT 100 * score FROM eval_scores WHERE run_key = '0.8B-zppo-s0' "
            "AND benchmark = 'MVista'"
        ).fetchone()[0]
        nano = c.execute(
            "SELECT 100 * avg(score), 100 * stddev_samp(score) FROM eval_scores "
            "WHERE run_key IN ('nano-zppo-s0', 'nano-zppo-s1') AND benchmark = 'vlm_rows'"
        ).fetchone()
    cell = rows["zppo",][block.columns.index("MVista")]
    assert cell.value == f"{score:.1f}"
    assert cell.paper == published()["0.8B", "VLM", "zppo", "MVista"]
    (block,) = [b for b in made(database_path, 1) if "nano" in b.title]
    cell = dict(block.rows)["zppo",][block.columns.index("vlm_rows")]
    assert str(cell) == f"{nano[0]:.1f} ± {nano[1]:.1f}"


def test_an_average_over_fewer_benchmarks_than_asked_is_missing(database_path):
    (llm,) = [b for b in made(database_path, 2, "0.8B") if b.title.endswith("LLM")]
    cells = dict(llm.rows)["zppo",]
    assert cells[llm.columns.index("HLE")].value is None
    assert cells[llm.columns.index("Avg")].value is None
    assert cells[llm.columns.index("Avg")].paper == "33.1"


def test_zppo_minus_the_best_other_of_a_column_stands_below_it(tmp_path, database_path):
    methods = TABLES[2].methods[1:]
    specs = [Spec(method=m, steps=1, samples=40, seed=s) for m in methods for s in (0, 1)]
    path = build(tmp_path / "all.duckdb", specs)
    (vlm,) = [b for b in made(path, 3, "nano") if b.title.endswith("VLM")]
    assert [c.value for c in dict(vlm.rows)["Δ to best other",]] == [None] * 3  # not all ablations
    (llm,) = [b for b in made(path, 2, "nano") if b.title.endswith("LLM")]
    *rows, (label, deltas) = llm.rows
    assert label == ("Δ to best other",)
    with open_database(path) as connection:
        scores = dict(
            connection.execute(
                "SELECT method, list(score ORDER BY benchmark <> 'Avg', benchmark DESC) "
                "FROM scoreboard WHERE family = 'LLM' AND method <> 'teacher' GROUP BY 1"
            ).fetchall()
        )
    assert set(scores) == {m for (m,), _ in rows}
    mine = scores.pop("zppo")
    expected = [a - max(others) for a, *others in zip(mine, *scores.values(), strict=True)]
    assert llm.columns[::-1] == ("Avg", "llm_same", "llm_new")
    assert [c.value for c in deltas][::-1] == [f"{x:+.1f}" for x in expected]
    # an incomplete score of any method makes the difference one
    with duckdb.connect(str(path)) as c:
        c.execute(
            "UPDATE eval_scores SET expected_n = 99 WHERE benchmark = 'llm_new' "
            "AND run_key = 'nano-grpo_replay-s0'"
        )
    (llm,) = [b for b in made(path, 2, "nano") if b.title.endswith("LLM")]
    assert [c.value[-1] == "*" for c in dict(llm.rows)["Δ to best other",]] == [
        True,
        False,
        True,
    ]


def test_published_differences_stand_beside_ours(database_path):
    (block,) = made(database_path, 1, "0.8B")
    column = block.columns.index("Avg")
    delta = dict(block.rows)["Δ to best other",][column]
    assert (delta.value, delta.paper) == (None, "+4.9")  # 50.3 against 45.4; some were not run
    assert dict(block.rows)["zppo",][column].paper == "50.3"
    (block,) = made(database_path, 18, "0.8B")
    rows = dict(block.rows)
    zppo, base, delta = (rows["0.8B", m][0] for m in ("zppo", "base", "Δ to base"))
    assert block.columns[0] == "VLM"
    assert float(delta.value) == pytest.approx(float(zppo.value) - float(base.value), abs=0.11)
    assert [c.paper for c in rows["0.8B", "Δ to base"]] == ["+9.3", "+7.9", "+4.5"]
    assert rows["0.8B", "Δ to base"][1].value is None  # HLE is missing
    (block,) = made(database_path, 20, "0.8B")
    rows = dict(block.rows)
    gap = rows["0.8B", "Δ to teacher"][0]
    zppo, teacher = rows["0.8B", "zppo"][0], rows["27B", "teacher"][0]
    assert float(gap.value) == pytest.approx(float(zppo.value) - float(teacher.value), abs=0.11)
    assert gap.paper is None
    assert r"$\Delta$ to base" in render(made(database_path, 18, "0.8B")[0], "latex")


@pytest.mark.parametrize("number", sorted(TABLES))
def test_a_published_value_never_stands_in_for_a_missing_one_of_ours(empty, number):
    found = made(empty, number, *PAPER_SCALES)
    cells = [c for b in found for _, row in b.rows for c in row]
    costs = number == 9  # the run cost something all the same
    assert not [c.value for c in cells if c.value is not None and not costs]
    assert [c for c in cells if c.paper is not None]
    for block in found:
        shown = render(block).splitlines()[4:] if not costs else ()
        assert all(MISSING in line for line in shown if line)


@pytest.mark.parametrize("number", sorted(TABLES))
def test_every_printed_value_of_the_paper_stands_in_its_table(empty, number):
    found = made(empty, number, *TABLES[number].scales)
    cells = [c.paper for b in found for _, row in b.rows for c in row if c.paper is not None]
    # in 1, 2, 10 and 11 with a row of differences, and in 18 with 12 of them and the teacher's
    printed = {
        1: 2 * 9 * 17,
        2: 2 * 6 * 17,
        3: 2 * 7 * 17,
        4: 36,
        9: 56,
        10: 306,
        11: 204,
        12: 238,
        13: 4 * 7 * 17,
        14: 48 * 3,
        15: 48 * 3,
        16: 8 * 5,
        17: 4 * 5,
        18: 24 + 12 + 3,
        19: 55,
        20: 85,
        21: 30,
    }
    assert len(cells) == printed[number]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_the_same_cells(database_path, form):
    (block,) = made(database_path, 18, "0.8B")
    text = render(block, form)
    if form != "csv":
        assert all(str(c).split(" ")[0] in text for _, row in block.rows for c in row if c.value)
        return
    rows = list(csv.DictReader(io.StringIO(text)))
    zppo = next(r for r in rows if r["method"] == "zppo")
    assert (zppo["scale"], zppo["LLM ours"], zppo["LLM paper"]) == ("0.8B", "", "33.1")
    assert float(zppo["VLM ours"]) > 0


def test_costs_are_means_over_runs_in_both_conventions(database_path):
    (block,) = made(database_path, 9, "nano")
    cells = dict(zip(block.columns, dict(block.rows)["nano", "zppo"], strict=True))
    with duckdb.connect(str(database_path), read_only=True) as c:
        paper, true = c.execute(
            "SELECT avg(flops_paper), avg(flops_used) FROM run_cost_totals "
            "WHERE run_key IN ('nano-zppo-s0', 'nano-zppo-s1')"
        ).fetchone()
    assert float(cells["FLOPs, paper's convention"].value) == pytest.approx(paper, rel=0.05)
    assert float(cells["FLOPs, true tokens"].value) == pytest.approx(true, rel=0.05)


def test_what_learns_makes_a_variant_and_how_it_is_packed_does_not(database_path, tmp_path):
    copied = shutil.copy(database_path, tmp_path / "copy.duckdb")
    key, found = "nano-zppo-s0", {}
    same = ["", "trainer.token_budget=8192", "compute.threads=1", "run.seed=7"]
    others = ["trainer.lora_rank=16", "trainer.train_vision=false", "reformulation.wrong=any"]
    sets = [*same, *others]
    with open_database(copied, read_only=False) as connection:
        for text in sets:
            configured = load("nano", [text] if text else []).to_json()
            connection.execute(
                "UPDATE runs SET config_json = ? WHERE run_key = ?", [configured, key]
            )
            asked = "SELECT variant FROM run_settings WHERE run_key = ?"
            found[text] = connection.execute(asked, [key]).fetchone()[0]
    assert len({found[text] for text in same}) == 1
    assert len(set(found.values())) == 1 + len(others)


def test_ablations_are_left_out_and_counted_unless_their_variant_is_asked_for(database_path):
    with open_database(database_path) as connection:
        (usual,) = blocks(connection, 18, ["nano"])
        assert "nano: 3 runs of other variants left out (--run KEY" in usual.note
        for key in ("nano-zppo-s0-1nonzero", "nano-zppo-s0-4all", "nano-zppo-s0-nano:student"):
            assert key in usual.note
        other = connection.execute(
            "SELECT variant FROM run_settings WHERE run_key LIKE '%nano:student'"
        ).fetchone()[0]
        (block,) = blocks(connection, 18, ["nano"], other)
        assert dict(block.rows)["nano", "zppo"] != dict(usual.rows)["nano", "zppo"]
        with pytest.raises(UserError, match="no run of variant"):
            blocks(connection, 18, [], "nothing")


def test_the_command_prints_writes_and_refuses(database_path, tmp_path, capsys):
    database = ["--database", str(database_path)]
    assert tables.main(["--table", "16", "--format", "markdown", *database]) == 0
    assert "| nano  | correct" in capsys.readouterr().out
    assert tables.main(["--table", "all", "--out", str(tmp_path), *database]) == 0
    assert len(list(tmp_path.glob("table*.csv"))) + capsys.readouterr().err.count("Table") == 17
    for wrong in (["--table", "8"], ["--table", "x"]):
        assert tables.main([*wrong, *database]) == 2
        assert capsys.readouterr().err.startswith("zppo: ")


CROWD = (
    "zppo",
    "grpo_replay",
    "grpo_replay_bcq",
    "grpo_replay_ncq",
    "grpo_replay_hint",
    "grpo_replay_prefix",
    "off_distill_replay",
    "on_distill_replay",
    "zppo_dynamic",
    "zppo_teachers",
    "grpo",
)


def settings_changed(path, run_key: str, section: str, **fields) -> None:
    """Change a stored run's configuration."""
    with duckdb.connect(str(path)) as c:
        (text,) = c.execute("SELECT config_json FROM runs WHERE run_key = ?", [run_key]).fetchone()
        config = json.loads(text)
        config[section] = config.get(section, {}) | fields
        c.execute(
            "UPDATE runs SET config_json = ? WHERE run_key = ?",
            [json.dumps(config, sort_keys=True), run_key],
        )


def test_a_run_with_another_setting_does_not_hide_the_first(tmp_path):
    first, other, third = (
        Spec(steps=2, samples=20, **more)
        for more in ({}, {"seed": 2}, {"method": "grpo", "seed": 1})
    )
    path = build(tmp_path / "one.duckdb", [first])
    numbers = [n for n in TABLES if n != 15]
    before = {n: [b.rows for b in made(path, n)] for n in numbers}
    build(path, [other, third])
    for limit, spec in enumerate((other, third), 3):
        settings_changed(path, spec.run_key, "evaluation", limit=limit)
    for number in numbers:
        found = made(path, number)
        assert [b.rows for b in found] == before[number], number
        for spec in (other, third):  # both are named, and how to see them
            assert spec.run_key in found[0].note
            assert "--run" in found[0].note


def test_a_field_that_came_later_makes_no_other_variant_of_older_runs(tmp_path):
    old, new = Spec(steps=1, samples=5), Spec(steps=1, samples=5, seed=1)
    path = build(tmp_path / "o.duckdb", [old, new])
    asked = "SELECT run_key, variant, but_teacher, but_updates, but_norm FROM run_settings"

    def variants() -> dict[str, tuple]:
        with duckdb.connect(str(path), read_only=True) as c:
            return {key: tuple(rest) for key, *rest in c.execute(asked).fetchall()}

    settings_changed(path, new.run_key, "optimizer", moments="float32", eps=1e-8)
    settings_changed(path, new.run_key, "replay", refresh=False)
    found = variants()
    assert found[old.run_key] == found[new.run_key]
    settings_changed(path, new.run_key, "optimizer", moments="bfloat16")
    assert variants()[new.run_key] != found[old.run_key]


def test_a_run_of_no_method_of_a_table_hides_none_that_is(tmp_path):
    """Table 16 is of zppo alone: two runs of grpo with other settings do not empty it."""
    first = Spec(steps=2, samples=20)
    others = [Spec(method="grpo", seed=s, steps=2, samples=20) for s in (0, 1)]
    path = build(tmp_path / "two.duckdb", [*others, first])
    settings_changed(path, first.run_key, "evaluation", limit=3)
    (audit,) = made(path, 16)
    assert all(cell.value is not None for _, row in audit.rows for cell in row)
    (averages,) = made(path, 18)
    assert dict(averages.rows)["nano", "zppo"][0].value is not None


def test_named_runs_are_shown_and_no_others(tmp_path, capsys):
    first, second, other = Spec(steps=2), Spec(steps=2, seed=1), Spec(steps=2, seed=2)
    path = build(tmp_path / "r.duckdb", [first, second, other])
    settings_changed(path, other.run_key, "evaluation", limit=3)
    with open_database(path) as connection:

        def mean(*runs: str) -> str:
            (block,) = blocks(connection, 18, ["nano"], runs=runs)
            assert block.note == ""
            return dict(block.rows)["nano", "zppo"][0].value

        scores = dict(
            connection.execute(
                "SELECT run_key, average FROM run_families WHERE role = 'student' AND family = "
                "'VLM'"
            ).fetchall()
        )
        assert mean(first.run_key) == f"{scores[first.run_key]:.1f}"
        assert mean(other.run_key) == f"{scores[other.run_key]:.1f}"
        both = mean(first.run_key, second.run_key)
        expected = (scores[first.run_key] + scores[second.run_key]) / 2
        assert both.split(" ± ")[0] == f"{expected:.1f}"
        with pytest.raises(UserError, match=r"differ in their settings .*nano-zppo-s0.*s2"):
            mean(first.run_key, other.run_key)
    database = ["--database", str(path)]
    assert tables.main(["--table", "18", "--run", "nano-zppo-s2", *database]) == 0
    assert f"{scores[other.run_key]:.1f}" in capsys.readouterr().out
    assert tables.main(["--table", "18", "--run", "nano-zppo-s9", *database]) == 2
    assert "there are: nano-zppo-s0" in capsys.readouterr().err
    assert tables.main(["--table", "18", "--variant", "none", *database]) == 2
    assert "nano-zppo-s0" in capsys.readouterr().err  # ids of what there is


@pytest.mark.parametrize("number", [2, 3, 13, 14, 16, 19])
def test_a_csv_is_one_table_whose_rows_say_where_they_belong(database_path, number):
    found = made(database_path, number)
    rows = list(csv.DictReader(io.StringIO(render_all(found, "csv"))))
    assert len(rows) == sum(len(b.rows) for b in found)
    assert all(None not in row and None not in row.values() for row in rows)  # all of one length
    assert all(row["table"] == str(number) for row in rows)
    keys = ("scale", "family", "method", "comparison", "rollouts judged")
    identities = [tuple(row.get(k) for k in keys) for row in rows]
    assert len(set(identities)) == len(rows)
    assert all(row["scale"] for row in rows)
    if number != 16:
        assert {row["family"] for row in rows} <= {"VLM", "LLM", "Video"}
    at = iter(rows)
    for block in found:
        for _, cells in block.rows:
            row = next(at)
            for column, cell in zip(block.columns, cells, strict=True):
                pair = (row[f"{column} ours"], row[f"{column} paper"])
                assert pair == (cell.value or "", cell.paper or "")


def test_the_teacher_of_a_scale_of_our_own_ends_table_18(database_path):
    (block,) = made(database_path, 18, "nano", "0.8B")
    rows = dict(block.rows)
    assert [c.paper for c in rows["27B", "teacher"]] == ["75.5", "71.8", "77.4"]
    assert [c.paper for c in rows["nano", "teacher"]] == [None] * 3
    assert all(c.value for c in rows["nano", "teacher"])


def test_tables_hold_any_number_of_methods(tmp_path):
    path = build(tmp_path / "many.duckdb", [Spec(method=m, steps=2, samples=5) for m in CROWD])
    for number in TABLES:
        assert all(render_all(made(path, number), form) for form in FORMATS)
