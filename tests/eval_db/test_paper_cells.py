"""The paper's own cells, put in as a run's rows, come out of every table and figure again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from paper_world import paper_database, run_row, score_rows
from synthetic import MemoryJournal

from eval.render import Block
from eval.report.connection import open_database
from eval.report.database import ingest
from eval.report.figures import panels_of
from eval.report.paper_tables import TABLES, Results, blocks
from eval.report.published import AVERAGE, PAPER_SCALES, numbers, published

# averages that the paper prints 0.06 or more off its own cells (eval/report/reference/README.md, 1)
SLIPS = {
    ("0.8B", "Video", "zppo"),
    ("2B", "LLM", "on_distill_replay"),
    ("2B", "LLM", "grpo_replay"),
    ("9B", "LLM", "grpo_replay"),
    ("4B", "LLM", "grpo_both"),
    ("9B", "LLM", "grpo_both"),
}
SCORES = (1, 2, 3, 4, 10, 11, 12, 13, 18, 19, 20, 21)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paper_database(tmp_path_factory.mktemp("paper") / "paper.duckdb")


def made(paper: Path, number: int) -> list[Block]:
    with open_database(paper) as connection:
        return blocks(connection, number, TABLES[number].scales)


def plain(text: str | None) -> str | None:
    return None if text is None else text.replace(",", "")


@pytest.mark.parametrize("number", SCORES)
def test_scores_and_their_averages_come_out_as_printed(paper, number):
    cells = 0
    for block in made(paper, number):
        where = dict(block.where)
        for labels, row in block.rows:
            about = where | dict(zip(block.labels, labels, strict=True))
            for column, cell in zip(block.columns, row, strict=True):
                if cell.paper is None:
                    continue
                cells += 1
                if column in (AVERAGE, about.get("family", column)):  # columns may be families
                    off = 0.21 if "Δ" in about["method"] else 0.11
                    assert float(cell.value) == pytest.approx(float(cell.paper), abs=off)
                else:
                    assert cell.value == cell.paper, (about, column)
    assert cells >= 30


def test_the_printed_slips_are_the_known_ones_and_no_others(paper):
    with open_database(paper) as connection:
        scores = Results(connection).scores
    printed = {k: float(v) for k, v in published().items() if k[3] == AVERAGE and k[0] != "27B"}
    assert len(printed) > 100
    wrong = {k[:3] for k, v in printed.items() if abs(scores[k]["score"] - v) > 0.0599}
    assert wrong == SLIPS


def test_the_27b_row_stands_in_table_18(paper):
    (block,) = made(paper, 18)
    cells = dict(block.rows)["27B", "teacher"]
    assert [(c.value, c.paper) for c in cells] == [("75.5",) * 2, ("71.8",) * 2, ("77.4",) * 2]


def test_hours_and_flops_come_out_as_printed(paper):
    (block,) = made(paper, 9)
    for labels, (hours, flops, *_) in block.rows:
        assert float(hours.value) == float(hours.paper), labels
        assert flops.value == flops.paper, labels


@pytest.mark.parametrize("number", [14, 15])
def test_bootstrap_comes_out_as_printed_but_for_the_draw(paper, number):
    (block,) = made(paper, number)
    assert len(block.rows) == 48
    for labels, (points, interval, wins) in block.rows:
        assert points.value == points.paper, labels
        assert wins.value == wins.paper, labels
        mine, theirs = (
            [float(x) for x in re.findall(r"-?[\d.]+", text)]
            for text in (interval.value, interval.paper)
        )
        assert mine == pytest.approx(theirs, abs=0.2), labels


@pytest.mark.parametrize("number", [16, 17])
def test_audits_come_out_as_printed(paper, number):
    (block,) = made(paper, number)
    for labels, row in block.rows:
        assert [plain(c.value) for c in row] == [c.paper for c in row], labels


@pytest.mark.parametrize("figure", [4, 20, 21, 23, 24])
def test_the_buffers_numbers_come_out_as_printed(paper, figure):
    scales = [s for s in PAPER_SCALES if numbers(figure, s)]
    with open_database(paper) as connection:
        panels = panels_of(Results(connection), figure, scales)
    pairs = dict.fromkeys(b for p in panels for b in p.beside)
    rows = [r for s in scales for r in numbers(figure, s)]
    assert len(pairs) == len(rows) >= 2
    for pair in pairs:
        digits = 0 if pair.paper == round(pair.paper) else 1
        assert round(pair.value, digits) == pair.paper, pair
        assert re.search(r"[\d.,]+ / [\d.,]+", str(pair))


def test_the_buffers_points_are_drawn_where_ours_are(paper):
    with open_database(paper) as connection:
        ours = Results(connection)
        (four,), (twenty_one,) = (panels_of(ours, n, ["2B"]) for n in (4, 21))
        (fates,) = panels_of(ours, 23, ["2B"])
    for panel in (four, twenty_one, fates):
        assert panel.paper
        for name, (xs, ys) in panel.paper.items():
            drawn = dict(zip(*panel.series[name], strict=True))
            assert [round(drawn[x]) for x in xs] == list(ys), name


def test_figure_24_has_both_methods_and_the_two_hardest_bins(paper):
    with open_database(paper) as connection:
        panels = panels_of(Results(connection), 24, ["2B"])
    assert [p.title for p in panels] == [
        f"2B: {m}, admitted at {b} %" for m in ("zppo", "grpo_replay") for b in ("0", "12.5")
    ]
    totals = [sum(p.series["graduate"][1]) for p in panels]
    assert totals == [432, 510, 73, 169]


def test_gains_over_the_base_come_out_as_printed(paper):
    with open_database(paper) as connection:
        panels = panels_of(Results(connection), 1, PAPER_SCALES)
    assert [p.title for p in panels] == list(PAPER_SCALES)
    for panel in panels:
        assert len(panel.series) == 4
        for method, (families, gains) in panel.series.items():
            assert panel.paper[method][0] == families
            assert list(gains) == pytest.approx(list(panel.paper[method][1]), abs=0.11)


@pytest.mark.parametrize("scale", ["0.8B", "2B"])
def test_gains_by_teacher_come_out_as_printed(tmp_path, scale):
    base = [(f, f"{f} benchmark", 40.0) for f in ("VLM", "LLM", "Video")]
    for row in numbers(7, scale):
        size, gain = row["quantity"].rpartition("_")[2], float(row["value"])
        teacher = f"Qwen/Qwen3.5-{size}" + ("-FP8" if size == "27B" else "")
        journal, run = MemoryJournal(), f"by-{size}"
        scores = score_rows(run, "student", run, [(f, b, v + gain) for f, b, v in base])
        journal.commit("start", {"runs": [run_row(scale, "zppo", run, teacher=teacher)]})
        if size == "27B":  # one base for all
            scores += score_rows(run, "base", f"base-{scale}", base)
        journal.commit("eval", {"eval_scores": scores})
        ingest(journal, run, tmp_path / "t.duckdb")
    with open_database(tmp_path / "t.duckdb") as connection:
        (panel,) = panels_of(Results(connection), 7, [scale])
    drawn = dict(zip(*panel.series["zppo"], strict=True))
    assert drawn == pytest.approx(dict(zip(*panel.paper["zppo"], strict=True)))
    assert len(drawn) == 3
    assert [b.value for b in panel.beside] == pytest.approx([b.paper for b in panel.beside])
