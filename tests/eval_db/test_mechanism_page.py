"""What `zppo mechanism` says of several seeds together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report import mechanism
from eval.report.mechanism_files import Chance, Findings, Share, Transfer, read, write
from eval.report.mechanism_page import CATEGORIES, by_method, over_seeds, panels, text

HARD = CATEGORIES["hard"][0]


def found(seed: int, cosine: float, method: str = "zppo") -> Findings:
    """Ten steps: a BCQ group every second one, plain prompts that become likelier."""
    return Findings(
        f"run-{seed}",
        method,
        seed,
        [
            Share(s, kind, 1, norm)
            for s in range(0, 10, 2)
            for kind, norm in (("plain", 3.0), ("bcq", 1.0))
        ],
        [Transfer(s, "bcq", HARD, cosine, None, 0.0) for s in range(0, 10, 2)],
        [Chance(s, HARD, "plain", s / 10) for s in range(0, 11, 2)],
        True,
    )


def cells(words: str, *heads: str) -> list[str]:
    """The cells of the row that begins with these."""
    lines = words.replace("`", "").splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    (row,) = [r for r in rows if r[: len(heads)] == list(heads)]
    return row[len(heads) :]


def test_a_cell_is_the_mean_over_seeds_with_students_interval() -> None:
    words = text(by_method([found(s, c) for s, c in enumerate([0.1, 0.2, 0.6])]), bins=2)
    half = 4.302653 * np.std([0.1, 0.2, 0.6], ddof=1) / math.sqrt(3)  # t of two degrees
    assert cells(words, "zppo bcq", "question") == [f"+0.30 ± {half:.2f}"] * 2
    assert cells(words, "zppo plain")[0] == "75.0 ± 0.0"
    assert cells(words, "zppo", "hard", "plain")[::5] == ["0.00 ± 0.00", "1.00 ± 0.00"]
    assert "`zppo`: 3" in words


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_seeds_without_a_value_are_counted_and_change_no_mean(values: list[float]) -> None:
    say = "{:+.3f}".format
    whole = over_seeds(values, say)
    assert over_seeds([None, *values], say) == f"{whole} ({len(values)})"
    assert over_seeds([None, None], say) == "–"
    assert ("±" in whole) == (len(values) >= 3)


def test_each_seed_weighs_the_same_however_many_groups_it_had() -> None:
    many = found(0, 0.0)
    many.transfers.extend(many.transfers * 9)
    words = text(by_method([many, found(1, 1.0)]), bins=1)
    assert cells(words, "zppo bcq", "question") == ["+0.50"]


def test_methods_stand_apart_and_curves_are_means() -> None:
    pools = by_method([found(1, 0.4), found(0, 0.2), found(0, -0.5, "zppo_placebo")])
    assert [(p.method, [r.seed for r in p.runs]) for p in pools] == [
        ("zppo", [0, 1]),
        ("zppo_placebo", [0]),
    ]
    cosines, norms, hard = panels(pools)
    steps, heights = cosines.series["zppo bcq"]
    assert list(steps) == [0, 2, 4, 6, 8]
    assert heights == pytest.approx([0.3] * 5)
    assert norms.series["zppo_placebo bcq"] == ([0, 2, 4, 6, 8], [25.0] * 5)
    assert hard.series["zppo_placebo"] == ([0, 2, 4, 6, 8, 10], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_seed_twice_or_a_run_among_files_is_one_line(tmp_path, capsys) -> None:
    one = found(0, 0.1)
    name = str(tmp_path / "a.json")
    write(one, tmp_path / "a.json")
    assert read(tmp_path / "a.json") == one
    assert mechanism.main([name, name]) == 2
    assert "two files are of one seed of zppo" in capsys.readouterr().err
    assert mechanism.main([name, "a-run"]) == 2
    assert "give the files of --out together" in capsys.readouterr().err


def test_a_run_that_came_out_otherwise_is_named_and_an_exit_code(tmp_path, capsys) -> None:
    names = [str(tmp_path / f"{seed}.json") for seed in range(2)]
    for seed, name in enumerate(names):
        write(replace(found(seed, 0.1), same=seed == 0), tmp_path / name)
    assert mechanism.main(names) == 1
    assert "the run's own in 1 of 2. NOT the run's own: run-1." in capsys.readouterr().out


def test_tables_go_between_the_marks_of_a_page(tmp_path, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- measured -->\nold\n<!-- /measured -->\n\nafter\n")
    names = [str(tmp_path / f"{seed}.json") for seed in range(3)]
    for seed, name in enumerate(names):
        write(found(seed, 0.1 * seed), tmp_path / name)
    picture = tmp_path / "curves.svg"
    assert mechanism.main([*names, "--page", str(page), "--picture", str(picture)]) == 0
    said = capsys.readouterr().out
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert cells(written, "zppo bcq", "question")[0] in said
    assert picture.read_text().startswith("<?xml")
