"""The card of the `cache_teacher` task: draws made and found, how often right, the time left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape

from steps.cards.blocks import Tile, bar, facts, head, heading, image_tags, tag, tiles
from steps.cards.blocks import preformatted as text_of
from steps.cards.chart import percent, seconds
from steps.cards.evaluation import SMALL, short
from steps.cards.live import Beside, Pace
from steps.cards.page import Card, put
from zppo_core.algorithm.step_types import StepResult
from zppo_core.run.draws import Sampled, Seen
from zppo_core.run.spec import Run


@dataclass(frozen=True)
class State:
    """How far the draws are: questions done of those asked, and what was counted."""

    done: int
    total: int
    spent: float  # seconds
    seen: Seen | None = None


def view(run: Run, state: State) -> list[str]:
    """Progress, cache hits, accuracy, tokens, time left, and some draws."""
    seen = state.seen
    left = (state.total - state.done) * state.spent / state.done if state.done else None
    values = [Tile("questions", f"{state.done:,} of {state.total:,}", "asked of the teacher")]
    if seen is None and left is not None:
        values.append(Tile("time left", seconds(left), f"{seconds(state.spent)} spent"))
    if seen is not None:
        asked = seen.hits + seen.misses
        values += [
            Tile("time", seconds(state.spent), "all of the draws"),
            Tile(
                "found in the cache",
                percent(seen.hits / asked) if asked else "–",
                f"{seen.hits:,} of {asked:,} draws",
            ),
            Tile("tokens made", f"{seen.tokens:,}", f"in {seen.misses:,} draws"),
            Tile(
                "accuracy",
                percent(seen.accuracy) if seen.graded else "–",
                f"of {seen.graded:,} draws graded",
            ),
        ]
    parts = [
        head("Teacher", f"run {run.key}, {run.config.teacher.model}"),
        bar(state.done, state.total),
        tiles(values),
    ]
    if seen is not None and seen.shown:
        parts.append(heading("Some of what it wrote", "Whole draws, before any summary of them."))
        parts += [one(sampled, i == 0) for i, sampled in enumerate(seen.shown)]
    links = {"cache": run.cache_url, "look after it": "zppo cache stats"}
    return [*parts, heading("Where it is"), facts(links, code=True)]


def one(sampled: Sampled, open_it: bool) -> str:
    """A question with its picture, and the teacher's draws side by side."""
    question = sampled.question
    right = sum(grade.reward > 0 for _, grade in sampled.draws)
    columns = "".join(
        f'<div><div class="facts">{tag(grade.outcome, grade.reward > 0)}</div>'
        f"{text_of(short(text))}</div>"
        for text, grade in sampled.draws
    )
    images = image_tags([SMALL.scaled(i, small=True) for i in question.images])
    return (
        f'<details class="sample"{" open" if open_it else ""}><summary>'
        f"{tag(f'{right} of {len(sampled.draws)} right', right > 0)}"
        f'<span class="lead">{escape(question.text[:160])}</span></summary>'
        f'<div class="inside">{images}<h3>Question</h3>{text_of(short(question.text))}'
        f'<div class="facts"><b>Gold answer</b><code>{escape(question.gold)}</code></div>'
        f'<h3>Draws</h3><div class="pair">{columns}</div></div></details>'
    )


class TeacherCard:
    """Draws the card beside the teacher's work."""

    def __init__(self, card: Card, run: Run) -> None:
        self.card, self.run = card, run
        self.began = time.monotonic()
        self.beside, self.pace = Beside("card"), Pace()
        self.state = State(0, 0, 0.0)
        self.working("teacher draws", 0, 0)

    def working(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` questions have their draws."""
        self.state = State(done, total, time.monotonic() - self.began)
        if self.pace.due():
            self.beside.submit(self._draw)

    def finished(self, result: StepResult, seconds: dict[str, float]) -> None:
        """Of rollout steps, which this task has none of."""

    def look(self, seen: Seen) -> None:
        """All draws are there."""
        spent = time.monotonic() - self.began
        self.state = State(seen.questions, seen.questions, spent, seen)

    def close(self) -> None:
        """The last picture, which Metaflow keeps."""
        self.beside.close()
        put(self.card, *view(self.run, self.state))

    def _draw(self) -> None:
        began = time.monotonic()
        put(self.card, *view(self.run, self.state))
        self.card.refresh()
        self.pace.drawn(time.monotonic() - began)
