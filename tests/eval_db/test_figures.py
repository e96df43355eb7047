"""The paper's figures: what is drawn is what the database holds; published points are marked."""

from __future__ import annotations

import duckdb
import matplotlib.pyplot as plt
import pytest

from eval import figures
from eval.database import open_database
from eval.figures import FIGURES, draw, panels_of
from eval.paper_tables import Ours
from zppo_core.errors import UserError


def panels(path, number: int, *scales: str):
    with open_database(path) as connection:
        return panels_of(Ours(connection), number, scales)


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
