"""The forecast: parts add up, a run on record is preferred, and a trial leaves nothing behind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report import hours
from eval.report.connection import open_database
from eval.report.hours import (
    Rates,
    answered_here,
    forecast,
    like,
    rates_of,
    step_of,
    sweep_forecast,
    trial,
)
from eval.report.task_times import task_times
from steps import plan
from zppo_core.config import Config, load

SMALL = [
    "rollout.new_prompts=4",
    "rollout.group_size=4",
    "rollout.max_tokens=16",
    "optimizer.updates=1",
    "evaluation.suite=nano_text",
    "evaluation.limit=2",
    "evaluation.max_tokens=16",
    "data.train_questions=16",
    "run.rollout_steps=2",
    "compute.threads=1",
]
PHASES = {"plain": 2.0, "teacher": 0.5, "reformulate": 0.5, "augmented": 1.0, "update": 3.0}
RATES = Rates("a trial", 1.0, 4.0, 1.5, 1.0, 2.0, 0.01, 0.5, 0.7, PHASES, 0.02)


def nano(*settings: str) -> Config:
    return load("nano", list(settings))


@given(st.integers(1, 400), st.integers(1, 8))
def test_more_steps_take_longer_and_more_workers_do_not(steps: int, workers: int) -> None:
    here, more = (nano(f"run.rollout_steps={n}") for n in (steps, steps + 1))
    known, longer = (forecast(c, RATES, workers) for c in (here, more))
    assert longer.seconds >= known.seconds + sum(PHASES.values()) - 1e-6
    assert forecast(here, RATES, workers + 1).seconds <= known.seconds
    assert known.seconds == pytest.approx(sum(known.stages.values()))


def test_the_forecast_of_make_run_is_what_its_parts_add_up_to() -> None:
    stages = forecast(nano(), RATES, 2).stages
    assert stages["epoch"] == 2 * 4.5 + 40 * 7.0  # two tasks of 20 steps
    assert stages["prepare_data"] == 1.5 + 2.0  # no model is opened
    assert stages["cache_teacher"] == pytest.approx(4.0 + 0.5 + 1920 * 0.01)
    answers = 6 * (0.7 + 300 * 3 * 0.02)
    assert stages["evaluate"] == pytest.approx((2 * 4.0 + answers) / 2)
    assert stages["tasks without a model"] == 4 * 1.0 + 1.0  # and a card of the last one


def test_tasks_that_share_the_suite_start_once_and_run_side_by_side_no_more_than_they_are() -> None:
    answers = 6 * (0.7 + 300 * 3 * 0.02)
    for tasks, at_once in ((1, 1), (2, 2), (3, 2)):
        stages = forecast(nano(f"evaluation.tasks={tasks}"), RATES, 2).stages
        assert stages["evaluate"] == pytest.approx((tasks * 4.0 + answers) / at_once)


def test_a_method_takes_the_phases_that_it_has() -> None:
    of = {m: step_of(nano(f"run.method={m}"), RATES) for m in ("zppo", "grpo_replay", "grpo")}
    assert of["zppo"] == sum(PHASES.values())
    assert of["grpo_replay"] == pytest.approx(2.0 + 3.0 * 1.25 / 1.5)
    assert of["grpo"] == pytest.approx(2.0 / 1.25 + 3.0 / 1.5)


def test_a_stage_that_asks_no_teacher_opens_no_model() -> None:
    for settings in (["run.method=grpo"], ["teacher.prefill=0.0"]):
        assert forecast(nano(*settings), RATES, 2).stages["cache_teacher"] == 1.5


def test_a_sweep_draws_and_scores_the_base_once() -> None:
    one, two = (sweep_forecast([nano()] * n, RATES) for n in (1, 2))
    alone = forecast(nano(), RATES, 1).seconds
    assert one < two < one + alone
    later = forecast(nano(), RATES, 1, shared=True).stages
    assert later["cache_teacher"] == 4.0 + 0.5  # every draw is found
    assert later["evaluate"] == pytest.approx(2 * 4.0 + 6 * (0.35 + 300 * 0.02))


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A small configuration, and the database of its trial."""
    folder = tmp_path_factory.mktemp("hours")
    config = nano(*SMALL, f"store.root={folder}/runs", f"store.database={folder}/d.duckdb")
    run = trial(config, folder / "trial")
    return config, Path(run.database)


def test_the_rates_are_those_of_the_stages_that_ran(tried: tuple[Config, Path]) -> None:
    _, database = tried
    with open_database(str(database)) as connection:
        (key,) = connection.execute("SELECT run_key FROM runs").fetchone() or ("",)
        rates = rates_of(connection, key)
        (epochs,) = connection.execute(
            "SELECT sum(seconds) FROM phases WHERE step = -1 AND phase LIKE 'epoch/%'"
        ).fetchone() or (0.0,)
    assert {"plain", "update"} <= set(rates.steps)
    assert min(rates.corpus, rates.draw, rates.opening, rates.answer, *rates.steps.values()) > 0
    assert rates.step + rates.opening < epochs


def test_a_run_on_record_is_preferred_if_it_is_alike(tried: tuple[Config, Path]) -> None:
    config, database = tried
    with open_database(str(database)) as connection:
        assert like(connection, config)
        longer = replace(config, run=replace(config.run, rollout_steps=99))
        assert like(connection, longer)
        larger = replace(config, rollout=replace(config.rollout, group_size=8))
        assert like(connection, larger) == ""
        other = replace(config, run=replace(config.run, method="grpo"))
        assert like(connection, other) == ""


def test_a_run_that_drew_itself_is_preferred_to_a_later_one_that_found_its_draws(
    tried: tuple[Config, Path], tmp_path: Path
) -> None:
    config, database = tried
    copied = shutil.copy(database, tmp_path / "copy.duckdb")
    with open_database(copied, read_only=False) as connection:
        first = like(connection, config)
        for table, rows in (
            ("runs", "SELECT * REPLACE ('later' AS run_key, now()::TIMESTAMP AS created_at)"),
            ("steps", "SELECT * REPLACE ('later' AS run_key)"),
            ("eval_samples", "SELECT * REPLACE ('later' AS run_key)"),
        ):
            connection.execute(f"INSERT INTO {table} {rows} FROM {table}")
        assert like(connection, config) == first
        connection.execute("INSERT INTO costs SELECT * REPLACE ('later' AS run_key) FROM costs")
        assert like(connection, config) == "later"


def test_answers_that_were_found_are_no_part_of_the_stages_time() -> None:
    assert answered_here(90.0, 80.0, [25.0, 27.0]) == 80.0
    assert answered_here(32.0, 80.0, [25.0, 27.0]) == 28.0  # the student's alone
    assert answered_here(60.0, 80.0, [25.0, 27.0]) == 55.0  # and the teacher's
    assert answered_here(10.0, 80.0, [25.0, 27.0]) == 28.0


def test_a_trial_leaves_nothing_in_the_folders_of_the_run(
    tried: tuple[Config, Path], tmp_path: Path
) -> None:
    config, _ = tried
    assert not Path(config.store.root).exists()
    assert not Path(config.store.database).exists()


def test_a_tasks_start_is_timed_by_a_flow_of_its_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    times = task_times()
    assert 0 < times.alive < 3 * times.task
    assert 0 < times.ending < times.imports
    assert times.outside >= times.card + times.ending > 0
    assert list(tmp_path.iterdir()) == []


def test_plan_says_how_it_was_calibrated(monkeypatch, capsys) -> None:
    monkeypatch.setattr(hours, "calibrated", lambda config: RATES)
    assert plan.main(["--hours"]) == 0
    text = capsys.readouterr().out
    assert "# calibrated by a trial in 0 s, load " in text
    assert "# the run: " in text
    assert 'scale = "nano"' in text
    assert plan.main(["--hours", "--methods", "zppo,grpo", "--seeds", "0,1"]) == 0
    assert "# the sweep of 4 runs: " in capsys.readouterr().out
    assert plan.main(["--hours", "--methods", "zpo"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_times_are_told_in_the_unit_that_fits() -> None:
    assert [hours.spell(s) for s in (7.4, 400, 9000)] == ["7 s", "7 min", "2.5 h"]
