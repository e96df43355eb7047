"""The paper's figures: what is drawn is what the database holds; published points are marked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
import pytest
from synthetic import Spec, build

from eval.report import figures
from eval.report.connection import open_database
from eval.report.figures import FIGURES, panels_of
from eval.report.plot import Panel, draw, notes_of
from eval.report.selection import Results
from zppo_core.errors import UserError


def panels(path, number: int, *scales: str):
    with open_database(path) as connection:
        return panels_of(Results(connection), number, scales)


@pytest.mark.parametrize("number", sorted(FIGURES))
def test_every_figure_draws_every_point_of_its_panels(database_path, number):
    made = panels(database_path, number)
    picture = draw(made)
    axes = picture.axes
    assert len(axes) == len(made)
    for axis, panel in zip(axes, made, strict=True):
        assert axis.get_ylabel() == panel.y != ""
        shown = {t.get_text() for t in axis.get_legend().get_texts()} - {"published"}
        assert shown == set(panel.series)
        for name, (xs, ys) in panel.series.items():
            if panel.kind == "line":
                (line,) = [x for x in axis.lines if x.get_label() == name]
                assert list(line.get_xdata()) == list(xs)
                assert list(line.get_ydata()) == pytest.approx(list(ys))
            elif panel.kind == "bar":
                (bars,) = [c for c in axis.containers if c.get_label() == name]
                heights = [b.get_height() for b in bars]
                assert heights == pytest.approx(list(ys), nan_ok=True)
    plt.close(picture)


def test_graduation_shares_are_the_databases_and_the_published_ones_are_marked(database_path):
    (panel,) = panels(database_path, 4, "nano")
    with duckdb.connect(str(database_path), read_only=True) as c:
        expected = dict(
            c.execute(
                "SELECT entry_bin, 100 * sum(graduated) / sum(admitted) FROM graduation "
                "WHERE run_key IN ('nano-zppo-s0', 'nano-zppo-s1') GROUP BY 1"
            ).fetchall()
        )
    assert dict(zip(*panel.series["zppo"], strict=True)) == pytest.approx(expected)
    assert panel.paper == {}


def test_published_points_are_those_of_the_same_scale_alone(database_path):
    (panel,) = panels(database_path, 1, "0.8B")
    families, printed = panel.paper["zppo"]
    assert dict(zip(families, printed, strict=True)) == pytest.approx(
        {"VLM": 50.3 - 41.0, "LLM": 33.1 - 25.2, "Video": 52.8 - 48.3}
    )
    # ours is not there for the LLM family, where a benchmark is missing
    assert panel.series["zppo"][1][1] != panel.series["zppo"][1][1]


def test_the_buffer_s_layers_add_up_to_its_size(database_path):
    (panel,) = panels(database_path, 20, "nano")
    with duckdb.connect(str(database_path), read_only=True) as c:
        sizes = dict(
            c.execute(
                "SELECT step, avg(buffer_size) FROM steps "
                "WHERE run_key IN ('nano-zppo-s0', 'nano-zppo-s1') GROUP BY step"
            ).fetchall()
        )
    sums: dict[int, float] = {}
    for xs, ys in panel.series.values():
        for x, y in zip(xs, ys, strict=True):
            sums[x] = sums.get(x, 0.0) + y
    assert sums == pytest.approx(sizes)


def test_a_figure_whose_runs_are_missing_says_which(database_path, tmp_path, capsys):
    arguments = ["--database", str(database_path), "--out", str(tmp_path)]
    assert figures.main(["--figure", "6", "--scale", "0.8B", *arguments]) == 2
    assert "optimizer.updates" in capsys.readouterr().err
    assert figures.main(["--figure", "2", *arguments]) == 2
    assert "no figure 2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_same_data_gives_the_same_file(database_path, tmp_path):
    for name in ("a", "b"):
        out = ["--out", str(tmp_path / name), "--database", str(database_path)]
        assert figures.main(["--figure", "4", *out]) == 0
    first, second = ((tmp_path / n / "figure04.svg").read_bytes() for n in ("a", "b"))
    assert first == second
    with pytest.raises(UserError):
        panels(database_path, 99)


def configured(path, run_key: str, section: str, **fields) -> None:
    """Change a stored run's configuration."""
    with duckdb.connect(str(path)) as c:
        (text,) = c.execute("SELECT config_json FROM runs WHERE run_key = ?", [run_key]).fetchone()
        config = json.loads(text)
        config[section] = config.get(section, {}) | fields
        c.execute(
            "UPDATE runs SET config_json = ? WHERE run_key = ?",
            [json.dumps(config, sort_keys=True), run_key],
        )


SMALL = Spec(steps=2, samples=40)
WEAK = Spec(steps=2, samples=40, teacher="nano:student", teacher_params=600_000)


def test_a_student_without_a_family_has_no_mean_gain_by_teacher(tmp_path):
    lacking = Spec(steps=2, samples=40, teacher="nano:small", teacher_params=900_000)
    path = build(tmp_path / "t.duckdb", [SMALL, WEAK, lacking])
    (panel,) = panels(path, 7, "nano")
    assert panel.series["zppo"][0] == ("nano:student", "nano:small", "nano:teacher")
    assert panel.note == ""
    with duckdb.connect(str(path)) as c:
        c.execute(
            "DELETE FROM eval_scores WHERE run_key = ? AND family = 'Video'", [lacking.run_key]
        )
    (panel,) = panels(path, 7, "nano")
    assert panel.series["zppo"][0] == ("nano:student", "nano:teacher")
    assert panel.note == "nano: 1 runs without a score in every family left out"
    assert panels(path, 1, "nano")  # others draw what there is


def test_teachers_are_compared_within_one_configuration_but_for_the_teacher(tmp_path):
    """An ablation with another buffer, or other updates, is no point of another teacher."""
    second = Spec(seed=1, steps=2, samples=40)
    other = Spec(updates=1, steps=2, samples=40, teacher="nano:student", teacher_params=600_000)
    path = build(tmp_path / "t.duckdb", [SMALL, second, WEAK, other])
    (before,) = panels(path, 7, "nano")
    with duckdb.connect(str(path), read_only=True) as c:
        gains = dict(
            c.execute(
                "SELECT run_key, avg(g) FROM (SELECT run_key, family, max(average) FILTER "
                "(role = 'student') - max(average) FILTER (role = 'base') AS g FROM run_families "
                "GROUP BY ALL) GROUP BY ALL"
            ).fetchall()
        )
    mine = (gains[SMALL.run_key] + gains[second.run_key]) / 2
    expected = {"nano:student": gains[WEAK.run_key], "nano:teacher": mine}
    assert dict(zip(*before.series["zppo"], strict=True)) == pytest.approx(expected)
    assert before.note.startswith("nano: 1 zppo runs that differ in something else left out (--run")
    assert before.note.endswith(f": {other.run_key}")
    configured(path, WEAK.run_key, "replay", capacity=7)
    with pytest.raises(UserError, match="teachers of several sizes"):
        panels(path, 7, "nano")
    # the teacher's address and its load are no other configuration
    configured(path, WEAK.run_key, "replay", capacity=60)
    configured(path, WEAK.run_key, "teacher", endpoint="http://x/v1", concurrency=3)
    assert panels(path, 7, "nano")[0].series == before.series


def test_the_recipe_s_curves_differ_in_the_knob_alone(tmp_path):
    once, every = (Spec(steps=2, samples=40, **k) for k in ({"updates": 1}, {"norm": "all"}))
    path = build(tmp_path / "r.duckdb", [SMALL, once, every, WEAK])
    before = panels(path, 6, "nano")
    assert [sorted(p.series) for p in before] == [["1", "4"], ["all", "nonzero"]]
    with duckdb.connect(str(path), read_only=True) as c:
        curve = dict(
            c.execute(
                "SELECT step, 100 * accuracy FROM step_accuracy WHERE run_key = ? "
                "AND kind = 'plain'",
                [SMALL.run_key],
            ).fetchall()
        )
    # the other teacher's run, which has 4 updates and norm nonzero too, is not averaged in
    assert dict(zip(*before[0].series["4"], strict=True)) == pytest.approx(curve)
    (note,) = notes_of(before)
    assert note.startswith("nano: 1 zppo runs that differ in something else left out (--run")
    assert note.endswith(f": {WEAK.run_key}")
    configured(path, once.run_key, "replay", capacity=7)
    assert [p.title for p in panels(path, 6, "nano")] == ["nano: norm"]


def test_updates_are_varied_as_in_the_paper_where_such_runs_are_there(tmp_path):
    few, many = (Spec(steps=2, samples=40, updates=n) for n in (1, 2))
    path = build(tmp_path / "i.duckdb", [SMALL, few, many])
    for spec in (SMALL, few, many):
        configured(path, spec.run_key, "rollout", new_prompts=48)
    assert sorted(panels(path, 6, "nano")[0].series) == ["1", "2", "4"]  # all else equal
    configured(path, few.run_key, "rollout", new_prompts=12)
    configured(path, few.run_key, "run", rollout_steps=160)
    (panel,) = panels(path, 6, "nano")
    assert (panel.title, sorted(panel.series)) == ("nano: updates", ["1", "4"])


def test_a_variant_is_what_figures_6_and_7_vary(tmp_path):
    specs = [SMALL, Spec(seed=1, steps=2, samples=40), WEAK, Spec(updates=1, steps=2, samples=40)]
    path = build(tmp_path / "v.duckdb", specs)
    for spec in specs[1:]:
        configured(path, spec.run_key, "replay", capacity=7)
    configured(path, SMALL.run_key, "replay", capacity=8)
    with open_database(path) as connection:
        (variant,) = connection.execute(
            "SELECT variant FROM run_settings WHERE run_key = ?", [SMALL.run_key]
        ).fetchone()
        assert panels_of(Results(connection), 7, ["nano"])
        for number in (6, 7):
            with pytest.raises(UserError, match=f"Figure {number} needs"):
                panels_of(Results(connection, variant), number, ["nano"])


def test_possible_bcqs_are_said_to_be_too_few_unless_the_teacher_was_asked_for_all(tmp_path):
    specs = [SMALL, Spec(seed=1, steps=2, samples=40)]
    path = build(tmp_path / "s.duckdb", specs)
    for scope, short in (("augmented", 2), ("hard", 0)):
        for spec in specs:
            configured(path, spec.run_key, "teacher", scope=scope)
        (note, *_) = [*notes_of(panels(path, 5, "nano")), ""]
        assert (f"in {short} of 2 runs" in note) == (short > 0) == ("too low" in note)
    configured(path, specs[0].run_key, "teacher", scope="augmented")
    # now two variants of one run each: the one that is shown decides
    assert "1 runs of other variants left out" in notes_of(panels(path, 5, "nano"))[0]


def test_notes_are_drawn_and_printed(database_path, tmp_path, capsys):
    copied = shutil.copy(database_path, tmp_path / "copy.duckdb")
    made = panels(copied, 4, "nano")
    assert "runs of other variants left out" in made[0].note
    picture = draw(made)
    assert "other variants" in picture.get_supxlabel().replace("\n", " ")
    plt.close(picture)
    arguments = ["--database", str(copied), "--out", str(tmp_path)]
    assert figures.main(["--figure", "4", "--scale", "nano", *arguments]) == 0
    assert "other variants left out" in capsys.readouterr().out


BUFFERED = (
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
)


def test_every_figure_is_drawn_whatever_number_of_methods_there_is(tmp_path, capsys):
    path = build(tmp_path / "m.duckdb", [Spec(method=m, steps=6, samples=5) for m in BUFFERED])
    out = tmp_path / "out"
    arguments = ["--figure", "all", "--out", str(out), "--database", str(path)]
    assert figures.main(arguments) == 0
    said = capsys.readouterr().err
    assert all(f"Figure {n} needs" in said for n in (6, 7))  # no ablations are there
    assert len(list(out.glob("*.svg"))) == len(FIGURES) - 2
    (four,) = panels(path, 4, "nano")
    assert set(four.series) == set(BUFFERED)
    assert list(four.series)[:2] == ["zppo", "grpo_replay"]  # the paper's first
    (axis,) = draw([four]).axes
    looks = [(b[0].get_facecolor(), b[0].get_hatch()) for b in axis.containers]
    assert len(set(looks)) == len(BUFFERED)
    plt.close("all")


@pytest.mark.parametrize("kind", ["line", "bar", "area"])
def test_a_panel_draws_all_of_many_series_and_tells_them_apart(kind):
    series = {f"m{i:02d}": ((0, 1, 2), (1.0, 2.0, float(i))) for i in range(19)}
    (axis,) = draw([Panel("many", "x", "y", kind, series)]).axes
    assert [t.get_text() for t in axis.get_legend().get_texts()] == list(series)
    if kind == "line":
        looks = [(x.get_color(), x.get_linestyle()) for x in axis.lines]
    elif kind == "bar":
        looks = [(c[0].get_facecolor(), c[0].get_hatch()) for c in axis.containers]
    else:
        looks = [(tuple(c.get_facecolor()[0]), c.get_hatch()) for c in axis.collections]
    assert len(set(looks)) == len(series)
    plt.close("all")


def test_published_points_are_drawn_on_lines_and_areas_too():
    series = {"a": ((0, 1, 2), (1.0, 2.0, 3.0))}
    for kind in ("line", "area", "bar"):
        (axis,) = draw([Panel("t", "x", "y", kind, series, {"a": ((2,), (3.5,))})]).axes
        (mark,) = [x for x in axis.lines if x.get_label() == "published"]
        assert list(mark.get_ydata()) == [3.5]
    plt.close("all")


def test_a_run_of_another_setting_empties_no_figure_and_can_be_asked_for(tmp_path, capsys):
    second = Spec(method="grpo", steps=2, samples=40, seed=1)
    path = build(tmp_path / "h.duckdb", [SMALL])
    before = panels(path, 22, "nano")[0].series
    build(path, [second, Spec(steps=2, samples=40, seed=2)])
    for key in (second.run_key, "nano-zppo-s2"):
        configured(path, key, "evaluation", limit=9)
    panel = panels(path, 22, "nano")[0]
    assert panel.series == before
    assert all(k in panel.note for k in (second.run_key, "nano-zppo-s2", "--run"))
    with open_database(path) as connection:
        other = panels_of(Results(connection, runs=["nano-zppo-s2"]), 22, ["nano"])[0]
        curve = connection.execute(
            "SELECT 100 * accuracy FROM step_accuracy WHERE kind = 'plain' AND run_key = "
            "'nano-zppo-s2' ORDER BY step"
        ).fetchall()
    assert other.series != before
    assert list(other.series["plain"][1]) == pytest.approx([x for (x,) in curve])
    arguments = ["--figure", "22", "--database", str(path), "--out", str(tmp_path)]
    assert figures.main([*arguments, "--run", second.run_key]) == 2
    said = capsys.readouterr().err
    assert "needs runs of zppo" in said
    assert second.run_key in said  # what was looked at


def test_curves_are_the_databases(tmp_path):
    """Figs. 5, 22 and 25 print no number: what was put in is what is drawn."""
    path = build(tmp_path / "c.duckdb", [SMALL])
    steps = {0: (40, 30, 20), 1: (16, 8, 4)}  # asked, hard, with a right teacher response
    with duckdb.connect(str(path)) as c:
        for step, (asked, hard, right) in steps.items():
            c.execute(
                "UPDATE steps SET new_prompts = ?, replay_prompts = 0, hard = ?, "
                "eligible_bcq = ?, eligible_ncq = ? WHERE step = ?",
                [asked, hard, right, hard, step],
            )
            c.execute(
                "UPDATE step_kinds SET accuracy = ?, rollouts = 10, positive_advantage = ? "
                "WHERE step = ?",
                [0.25 * (step + 1), step + 1, step],
            )
            # the second half of the mini-batches is mostly trivial: few tokens are computed
            c.execute(
                "UPDATE updates SET loss = 1 + update_index, entropy = 2 + update_index, "
                "tokens = if(update_index < 2, 300, 100), divisor = 500 WHERE step = ?",
                [step],
            )
    shares, signal = panels(path, 5, "nano")
    assert shares.series["easy"] == ((0, 1), (25.0, 50.0))
    assert shares.series["BCQ possible"] == ((0, 1), (50.0, 25.0))
    assert shares.series["NCQ possible"] == ((0, 1), (75.0, 50.0))
    assert signal.series["zppo"] == ((0, 1), (10.0, 20.0))
    (accuracy,) = panels(path, 22, "nano")
    assert accuracy.series["bcq"] == accuracy.series["plain"] == ((0, 1), (25.0, 50.0))
    entropy, loss = panels(path, 25, "nano")
    # (300 (2 + 3) + 100 (4 + 5)) / 800 over computed tokens; losses over all tokens alike
    assert entropy.series["zppo"] == ((0, 1), (3.0, 3.0))
    assert loss.series["zppo"] == ((0, 1), (2.5, 2.5))
    assert "unequal rewards" in entropy.note
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    assert "groups with unequal rewards" in page
    with duckdb.connect(str(path)) as c:  # a journal of before schema 3 has no divisor
        c.execute("UPDATE updates SET divisor = NULL")
    assert panels(path, 25, "nano")[1].series["zppo"][1] == pytest.approx(
        [(300 * (1 + 2) + 100 * (3 + 4)) / 800] * 2
    )
