"""Cards as Metaflow holds them: filled anew, made as a whole, of the newest state."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn import evaluated
from metaflow import plugins

from eval import suite
from eval.protocol import Evaluator
from eval.report import tables
from eval.report.palette import NAMED, colour_of
from eval.report.progress import progress_of
from eval.report.transcripts import spread
from eval.scores import Item
from steps.cards import curves, evaluation
from steps.cards.chart import Series, lines, percent, plain, scale_of, stacked, step_ticks
from steps.cards.page import TYPE, ReportCard, put, register
from steps.cards.sweep import found_in
from steps.ending import ending
from steps.evaluate import drawing
from steps.show import main as show
from steps.sweep_card import draw_sweep
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader
from zppo_core.run.spec import Run
from zppo_core.run.sweep import plan


class Held(list):
    """What a Metaflow card holds."""

    def refresh(self, data: object = None, force: bool = False) -> None:
        """Nothing is shown."""

    @property
    def html(self) -> str:
        return "".join(part.html for part in self)


class Finished:
    pathspec = "ZPPOFlow/1/epoch/4"


def test_a_card_is_made_anew_as_a_whole() -> None:
    card = Held()
    put(card, "<p>one</p>", "<p>two</p>")
    put(card, "<p>three</p>")
    made = ReportCard(components=[part.render() for part in card])
    text = made.render_runtime(Finished(), {})
    assert "<p>three</p>" in text
    assert "<p>one</p>" not in text
    assert ReportCard.RELOAD_POLICY_TOKEN in text  # Metaflow puts the number of the drawing there
    assert made.refresh(Finished(), {})


def test_metaflow_knows_the_card_once() -> None:
    register()
    register()
    assert [card.type for card in plugins.CARDS].count(TYPE) == 1


def test_an_evaluate_task_draws_the_questions_the_models_disagree_on_first(recorded: Run) -> None:
    rows, answers = evaluated(recorded)
    picked = evaluation.chosen(answers)
    equal = [len({row["score"] for row in said.values()}) == 1 for _, said in picked]
    assert equal == sorted(equal)
    assert not equal[0]
    assert list(picked[0][1]) == ["base", "student", "teacher"]
    card = Held()
    share: list[Item] = [
        {"benchmark": "nano_grids", "index": 1, "of": 3},
        {"benchmark": "nano_text", "index": 0, "of": 1},
    ]
    show = drawing(card, share, recorded)
    exam = Evaluator(recorded.config.evaluation, Templates(), Grader())
    show(share[0], suite.find("nano", "nano_grids"), rows, answers, exam)
    show(share[1], suite.find("nano", "nano_text"), rows, {}, exam)
    assert card.html.index("benchmarks</h1>") < card.html.index("nano_grids, part 2 of 3")
    assert card.html.index("nano_grids") < card.html.index("nano_text")
    assert card.html.count("Gold answer") == len(evaluation.chosen(answers, 6))


def test_a_sweep_is_drawn_before_its_first_run_is_in_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = Held()
    sweep = plan("", "tried", "zppo,grpo_replay", "nano", "0,1", "")
    draw_sweep(card, sweep, [{"name": "tried-nano-zppo-s0", "status": "failed"}])
    for said in ("0 of 4", "1 failed", "tried-nano-grpo_replay-s1", "not done yet"):
        assert said in card.html


def test_a_sweep_s_curves_are_means_over_seeds(recorded: Run) -> None:
    from steps.cards.sweep import Row

    rows = [Row(recorded.key, "zppo", "nano", 0, 8, "done")]
    found = found_in(recorded.database, rows)
    assert [row["step"] for row in found["curves"]] == list(range(1, 9))
    assert found["members"][0]["steps"] == 8
    assert {row["family"] for row in found["scores"]} == {"VLM", "LLM", "Video"}


def test_show_writes_a_small_file_of_a_run_and_names_those_that_are_there(
    recorded: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.html"
    line = ["rec", "--database", recorded.database, "--out", str(path)]
    assert show(line) == 0
    assert path.stat().st_size < 5_000_000
    assert f"{path}: 0." in capsys.readouterr().out
    assert show(["nobody", *line[1:]]) == 2
    assert "no run 'nobody'; there are: recorded" in capsys.readouterr().err
    assert show([*line, "--rollouts", "0"]) == 2


def test_the_end_of_a_run_says_gain_cost_places_and_what_is_next(recorded: Run) -> None:
    said = ending(recorded, tables.summary(recorded.database, recorded.key)).splitlines()
    assert [line.split(":")[0] for line in said] == [
        "gained",
        "cost",
        "student",
        "records",
        "next",
    ]
    assert "VLM +" in said[0]
    assert f"zppo show {recorded.key}" in said[4]


def test_ticks_are_whole_steps_from_the_first() -> None:
    assert step_ticks(1, 8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert step_ticks(1, 40) == [1, 10, 20, 30, 40]
    assert step_ticks(1, 2000)[:2] == [1, 500]
    assert step_ticks(3, 3) == [3]


@pytest.mark.parametrize(
    "values", [[0.0], [5.0], [-1.0, 2.0], [1e-7, 3e-7], [0.999, 1.002], [1e6], [float(2**40)]]
)
def test_a_scale_holds_its_values_and_tells_its_ticks_apart(values: list[float]) -> None:
    scale = scale_of(values, zero=False, whole=None)
    assert scale.low <= min(values) <= max(values) <= scale.high
    labels = [scale.label(tick, plain) for tick in scale.ticks]
    assert len(set(labels)) == len(labels) >= 2


def test_a_long_run_has_a_chart_of_bounded_size() -> None:
    series: Series = {"plain": [(i, i % 7 / 7) for i in range(1, 20_001)]}
    for drawn in (lines("t", series, percent), stacked("t", series)):
        assert len(drawn) < 40_000
    assert "steps " in stacked("t", series)


def test_a_series_keeps_its_colour_whatever_else_is_shown() -> None:
    both = lines("t", {"bcq": [(1, 0.5)], "plain": [(1, 0.5)]})
    one = lines("t", {"plain": [(1, 0.5)]})
    assert NAMED["plain"] in one
    assert NAMED["plain"] in both
    assert colour_of("zppo", 1) != colour_of("zppo", 2)


def test_kinds_stand_in_the_order_of_a_step(recorded: Run) -> None:
    found = progress_of(recorded.database, recorded.key)
    assert list(curves.by(found["kinds"], "kind", "accuracy")) == ["plain", "replay", "bcq", "ncq"]


def test_chosen_steps_are_the_first_the_last_and_between() -> None:
    assert spread(range(1, 101), 5) == (1, 26, 51, 75, 100)
    assert spread([1, 2], 5) == (1, 2)
    assert spread([1, 2, 3], 1) == (3,)
