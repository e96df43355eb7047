"""The card of an `epoch` task: the whole run so far, live while a task advances it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape

from eval.report.alarms import alarms
from eval.report.connection import open_database
from eval.report.progress import Progress, progress, time_left
from eval.report.transcripts import Pictures, Transcripts, chosen_steps, no_pictures, transcripts
from steps.cards import curves
from steps.cards.blocks import Tile, alarm_list, bar, charts, facts, head, heading, tiles
from steps.cards.chart import percent, plain, seconds
from steps.cards.live import Beside, Feed, Pace
from steps.cards.page import Card, put
from steps.cards.places import places
from steps.cards.transcripts import BUDGET, pictures_of, section
from zppo_core.algorithm.step_types import StepResult
from zppo_core.config.schema import method_of
from zppo_core.run.session import Session
from zppo_core.run.spec import Run

MOST_ROLLOUTS = 4096  # on a live card
MOST_STEPS = 8  # whose groups a live card shows
CALM = "No alarm: mismatch, trivial groups, truncation and entropy are as they should be."


def view(
    run: Run,
    record: Progress,
    written: Transcripts | None,
    doing: str = "",
    late: str = "",
    where: Mapping[str, str] | None = None,
    budget: int = BUDGET,
) -> list[str]:
    """The card's parts. `doing` is what happens now, `late` why the database lags behind.

    `where` replaces the places of a run in progress; `budget` is of the transcripts [bytes].
    """
    config, total = run.config, run.rollout_steps
    begun, done = record["run"], len(record["steps"])
    title = f"{config.run.method}, scale {config.scale}, seed {config.run.seed}"
    subtitle = f"run {run.key}" + (f" on {begun['machine']}" if begun else "")
    by_advantage = method_of(config).objective.learns_from == "advantages"
    warnings = alarms(record, config.trainer.max_mismatch, by_advantage)
    warnings += [late] if late else []
    parts = [
        head(title, subtitle),
        bar(done, total),
        f'<p class="dim">{escape(doing or f"{done} of {total} rollout steps")}</p>',
        tiles(numbers(record, total)),
        alarm_list(warnings, CALM if done else "The first rollout step has not ended yet."),
    ]
    if done:
        parts += [
            heading("Learning") + charts(curves.learning(record)),
            heading("Updates") + charts(curves.optimisation(record)),
            heading("Speed") + charts(curves.speed(record)),
        ]
    if written is not None and written["groups"]:
        parts.append(section(written, run.key, budget, note=told(written)))
    return [*parts, heading("Where it is"), facts(where or places(run), code=True)]


def told(written: Transcripts) -> str:
    """Which steps a page holds the groups of."""
    steps = sorted({group["step"] for group in written["groups"]})
    if len(steps) > 12:
        return f"Groups of {len(steps)} steps, from {steps[0]} to {steps[-1]}."
    return f"Groups of {'step' if len(steps) == 1 else 'steps'} {', '.join(map(str, steps))}."


def numbers(record: Progress, total: int) -> list[Tile]:
    """What is looked at first."""
    steps = record["steps"]
    spent = sum(row["seconds"] or 0.0 for row in steps)
    left = time_left(record, total)
    values = [Tile("rollout steps", f"{len(steps)} of {total}")]
    if left is not None:
        values.append(
            Tile("time left", seconds(left) if left else "done", f"{seconds(spent)} spent")
        )
    if not steps:
        return values
    last = steps[-1]
    rows = [r for r in record["kinds"] if r["kind"] == "plain"]
    if rows:
        first = percent(rows[0]["accuracy"])
        values.append(
            Tile("accuracy, new questions", percent(rows[-1]["accuracy"]), f"{first} at step 1")
        )
    graduated = sum(row["graduated"] for row in steps)
    values.append(Tile("in the buffer", f"{last['buffer_size']:,}", f"{graduated:,} graduated"))
    if last["entropy"] is not None:
        values.append(Tile("entropy", plain(last["entropy"]), "nats a token"))
    if last["tokens_per_second"] is not None:
        values.append(Tile("tokens a second", plain(last["tokens_per_second"]), "sampled"))
    return values


class EpochCard:
    """Feeds the database after each step and draws the card beside the training.

    `card` is Metaflow's `current.card[...]`, or None: the database is fed, nothing is drawn.
    """

    def __init__(self, card: Card | None, session: Session, run: Run) -> None:
        self.card, self.run = card, run
        self.pictures: Pictures = pictures_of(session.corpus)
        self.beside, self.feed, self.pace = Beside("card"), Feed(run), Pace()
        self.doing, self.late = "starting", ""
        self.beside.submit(self._step)

    def working(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase has come."""
        self.doing = f"phase {phase}: {done} of {total} prompts"
        if self.card is not None and self.pace.due():
            self.beside.submit(self._redraw)

    def finished(self, result: StepResult, seconds: dict[str, float]) -> None:
        """Take the step into the database, and draw every curve anew."""
        self.doing = f"step {result.step + 1} finished"
        self.beside.submit(self._step)

    def close(self) -> None:
        """The last step is in the database, and on the card that Metaflow keeps."""
        self.doing = ""
        self.beside.submit(self._last)
        self.beside.close()

    def _step(self) -> None:
        self.late = self.feed.take()
        if self.card is not None and self.pace.due():
            self._redraw()

    def _last(self) -> None:
        self.late = self.feed.take()
        if self.card is not None:
            put(self.card, *self._parts())

    def _redraw(self) -> None:
        if self.card is None:
            return
        began = time.monotonic()
        put(self.card, *self._parts())
        self.card.refresh()
        self.pace.drawn(time.monotonic() - began)

    def _parts(self) -> list[str]:
        return parts_of(self.run, self.pictures, self.doing, self.late)


def parts_of(
    run: Run, pictures: Pictures = no_pictures, doing: str = "", late: str = ""
) -> list[str]:
    """The card of what the database holds of the run."""
    with open_database(run.database, wait=1.0) as connection:
        record = progress(connection, run.key)
        chosen = chosen_steps(connection, run.key, MOST_ROLLOUTS, MOST_STEPS)
        written = transcripts(connection, run.key, chosen, pictures)
    return view(run, record, written, doing, late)
