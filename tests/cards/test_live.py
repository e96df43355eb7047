"""The database follows the run, and cards are drawn of the whole run so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eval.report import database
from eval.report.alarms import alarms
from eval.report.connection import DatabaseInUseError, open_database
from eval.report.progress import Progress, StepRow, progress_of, time_left
from steps.cards import epoch
from steps.cards.live import Beside, Feed, Pace
from zppo_core.errors import UserError
from zppo_core.run.spec import Run


class Growing:
    """The recorded journal as it was after `steps` rollout steps; counts what is read."""

    def __init__(self, run: Run, steps: int) -> None:
        self.whole, self.steps, self.read_units = run.journal, steps, list[str]()

    def units(self, prefix: str = "") -> list[str]:
        last = f"step-{self.steps:06d}"
        return [u for u in self.whole.units(prefix) if not u.startswith("step-") or u < last]

    def read(self, unit: str) -> Mapping[str, bytes] | None:
        self.read_units.append(unit)
        return self.whole.read(unit)


def test_each_step_reads_what_is_new_alone_and_ends_where_one_ingestion_does(
    recorded: Run, tmp_path: Path
) -> None:
    path = tmp_path / "live.duckdb"
    rows: dict[str, int] = {}
    for done in range(1, recorded.rollout_steps + 1):
        journal = Growing(recorded, done)
        added = database.ingest_new(journal, recorded.key, path)
        rows = {table: rows.get(table, 0) + n for table, n in added.items()}
        if done > 1:
            new = [u for u in journal.read_units if u.startswith("step-")]
            assert {u.split("/")[0] for u in new} == {f"step-{done - 1:06d}"}
        assert [r["step"] for r in progress_of(path, recorded.key)["steps"]] == list(
            range(1, done + 1)
        )
    assert database.ingest_new(Growing(recorded, 99), recorded.key, path)["rollouts"] == 0
    assert not any(database.ingest(recorded.journal, recorded.key, path).values())
    assert rows == database.ingest(recorded.journal, recorded.key, tmp_path / "at_once.duckdb")


def test_a_step_that_cannot_be_taken_in_leaves_the_database_as_it_was(
    recorded: Run, tmp_path: Path
) -> None:
    path = tmp_path / "live.duckdb"
    database.ingest_new(Growing(recorded, 2), recorded.key, path)

    class Torn(Growing):
        def read(self, unit: str) -> Mapping[str, bytes] | None:
            files = dict(super().read(unit) or {})
            return files | {"steps.parquet": b"torn"} if "steps.parquet" in files else files

    with pytest.raises(UserError, match=r"steps\.parquet: refused"):
        database.ingest_new(Torn(recorded, 4), recorded.key, path)
    assert len(progress_of(path, recorded.key)["steps"]) == 2
    database.ingest_new(Growing(recorded, 4), recorded.key, path)
    assert len(progress_of(path, recorded.key)["steps"]) == 4


def test_a_database_in_use_delays_a_card_and_no_step(
    recorded: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise DatabaseInUseError("zppo.duckdb is in use by process 7")

    monkeypatch.setattr("steps.cards.live.ingest_new", busy)
    assert Feed(recorded).take() == "zppo.duckdb is in use by process 7. The next step tries again."


def test_a_card_of_a_later_task_has_the_steps_of_all_before(recorded: Run) -> None:
    text = "".join(epoch.parts_of(recorded))
    assert f"{recorded.rollout_steps} of {recorded.rollout_steps}" in text
    assert 'class="transcripts"' in text
    assert "step 1\n" in text


def test_the_newest_work_is_done_and_a_fault_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    beside, began, done = Beside("card"), threading.Event(), list[int]()

    def slow() -> None:
        began.set()
        time.sleep(0.1)
        raise ValueError("no picture")

    beside.submit(slow)
    began.wait()
    for i in range(3):
        beside.submit(lambda i=i: done.append(i))
    beside.close()
    assert done == [2]
    assert "card: ValueError: no picture; training goes on" in capsys.readouterr().out


def test_a_card_is_drawn_again_after_ten_times_what_it_cost_with_its_filing() -> None:
    pace = Pace()
    assert pace.due()
    pace.drawn(1.0)
    assert not pace.due()
    # a second of ours, and one of Metaflow's
    assert pace._next - time.monotonic() == pytest.approx(20.0, abs=0.5)


def steps(**columns: list[Any]) -> Progress:
    """Rows of steps with these columns, all else as in a sound run."""
    n = len(next(iter(columns.values())))
    sound = {
        "mismatch_mean": 1e-4,
        "trivial_share": 0.5,
        "truncated_share": 0.02,
        "entropy": 0.5,
        "skipped": 0,
        "seconds": 10.0,
    }
    rows: list[StepRow] = [
        {**sound, "step": i + 1, **{name: values[i] for name, values in columns.items()}}  # type: ignore[typeddict-item]
        for i in range(n)
    ]
    return {"run": None, "steps": rows, "kinds": [], "held": [], "phases": [], "busy": []}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"mismatch_mean": [0.0, 0.2]}, "Sampler and trainer disagree: 0.2 nats"),
        ({"trivial_share": [1.0] * 5}, "Every group is trivial"),
        ({"trivial_share": [0.95] * 5}, "95% of the groups"),
        ({"truncated_share": [0.1] * 5 + [0.4] * 5}, "Responses are cut more often: 10%"),
        ({"entropy": [0.8] * 5 + [0.1] * 5}, "Entropy has fallen from 0.8 to 0.1"),
        ({"skipped": [0, 2]}, "2 mini-batches were skipped"),
        ({"skipped": [2, 1, 0]}, "3 mini-batches were skipped"),
        ({"trivial_share": [0.2] * 5 + [1.0] * 5}, "Every group is trivial"),
    ],
)
def test_what_is_amiss_is_said_in_words(columns: dict[str, list[Any]], said: str) -> None:
    (text,) = alarms(steps(**columns))
    assert said in text


@pytest.mark.parametrize(
    "columns",
    [
        {"truncated_share": [0.4] * 10},
        {"truncated_share": [0.0] * 5 + [0.2] * 5},
        {"entropy": [0.8] * 5 + [0.5] * 5},
        {"entropy": [None] * 10},
        {"mismatch_mean": [None] * 3},
        {"trivial_share": [1.0, 0.2, 0.3, 0.4, 0.1]},
        {"trivial_share": [1.0] * 5 + [0.2] * 5},
        {"truncated_share": [0.1] * 4 + [0.9] * 5},  # beginning and end would overlap
        {"entropy": [0.8] * 4 + [0.1] * 5},
    ],
)
def test_a_sound_run_raises_no_alarm(columns: dict[str, list[Any]]) -> None:
    assert alarms(steps(**columns)) == []


def test_the_bound_on_mismatch_is_the_runs_own_if_it_has_one() -> None:
    seen = steps(mismatch_mean=[0.0, 0.08])
    assert alarms(seen, limit=0.1) == []
    (text,) = alarms(seen)
    assert "above 0.05" in text
    (text,) = alarms(steps(mismatch_mean=[0.0, 0.02]), limit=0.01)
    assert "above 0.01" in text


def test_equal_rewards_are_no_alarm_where_the_loss_learns_from_them_all_the_same() -> None:
    assert alarms(steps(trivial_share=[1.0] * 5), by_advantage=False) == []


def test_time_left_is_at_the_pace_of_the_last_steps() -> None:
    found = steps(seconds=[100.0] * 4 + [10.0] * 8)
    assert time_left(found, 20) == pytest.approx(80.0)
    assert time_left(found, 12) == 0
    assert time_left(steps(seconds=[None]), 12) is None


def test_lengths_and_moves_are_those_of_the_rows(recorded: Run) -> None:
    with open_database(recorded.database) as connection:
        counted = connection.execute(
            "SELECT step + 1, avg((finish = 'length')::INT), avg(len(token_ids)) FROM rollouts "
            "GROUP BY step ORDER BY step"
        ).fetchall()
        events = dict(
            connection.execute(
                "SELECT event, count(*) FROM buffer_events GROUP BY event"
            ).fetchall()
        )
    found = progress_of(recorded.database, recorded.key)["steps"]
    assert [(r["step"], r["truncated_share"]) for r in found] == [(s, c) for s, c, _ in counted]
    assert [r["response_tokens"] for r in found] == pytest.approx([t for _, _, t in counted])
    assert sum(r["admitted"] for r in found) == events["admit"]
    assert sum(r["graduated"] for r in found) == events.get("graduate", 0)


def test_an_unknown_run_has_no_steps(recorded: Run, tmp_path: Path) -> None:
    found = progress_of(recorded.database, "nobody")
    assert found["steps"] == []
    assert found["run"] is None
    with pytest.raises(UserError, match="no database at"):
        progress_of(tmp_path / "none.duckdb", "nobody")
