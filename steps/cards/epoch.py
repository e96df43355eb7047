"""The card of an `epoch` task, live while it runs."""

from __future__ import annotations

from metaflow.cards import Markdown, ProgressBar, VegaChart

from steps.cards.blocks import Card, image_tags, line_chart, note, safe_text, stacked_bars
from zppo_core.algorithm.step_types import Corpus, StepResult
from zppo_core.types import Group

TRANSCRIPTS = ("plain", "bcq", "ncq")


class EpochCard:
    """Progress, accuracies by kind, buffer size, time per phase and three transcripts.

    `card` is Metaflow's `current.card[...]`, or None to draw nothing (tests, scripts).
    """

    def __init__(self, card: Card | None, corpus: Corpus, total: int, title: str) -> None:
        self.card = card
        self.corpus = corpus
        self.rows: list[dict[str, object]] = []
        self.sizes: list[dict[str, object]] = []
        self.times: list[dict[str, object]] = []
        if card is None:
            return
        self.bar = ProgressBar(max=total, label="rollout steps", value=0)
        self.phase = Markdown("starting")
        self.accuracy, self.buffer, self.phases = map(VegaChart, self._specs())
        self.transcripts = {kind: Markdown("") for kind in TRANSCRIPTS}
        for block in (
            note(f"# {title}"),
            self.bar,
            self.phase,
            self.accuracy,
            self.buffer,
            self.phases,
            note("## Transcripts of the last step"),
            *self.transcripts.values(),
        ):
            card.append(block)
        card.refresh()

    def _specs(self) -> tuple[dict[str, object], ...]:
        """The three charts over the rows so far."""
        return (
            line_chart(
                self.rows,
                "step",
                "accuracy",
                "kind",
                "Student accuracy by kind of group",
                "accuracy",
                True,
            ),
            line_chart(
                self.sizes, "step", "size", "series", "Prompt replay buffer", "questions held"
            ),
            stacked_bars(self.times, "step", "seconds", "phase", "Time per phase", "seconds"),
        )

    def working(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase has come."""
        if self.card is not None:
            self.phase.update(f"phase **{phase}**: {done} of {total} prompts")
            self.card.refresh()

    def finished(self, result: StepResult, seconds: dict[str, float]) -> None:
        """Add a finished step to every chart and show its transcripts."""
        if self.card is None:
            return
        groups = [*result.plain, *result.augmented]
        for kind in dict.fromkeys(g.kind for g in groups):
            own = [g.accuracy for g in groups if g.kind == kind]
            self.rows.append({"step": result.step, "kind": kind, "accuracy": sum(own) / len(own)})
        self.sizes.append({"step": result.step, "series": "questions", "size": result.buffer_size})
        self.times += [
            {"step": result.step, "phase": name, "seconds": value}
            for name, value in seconds.items()
        ]
        self.bar.update(result.step + 1)
        self.phase.update(f"step {result.step + 1} finished")
        for chart, spec in zip(
            (self.accuracy, self.buffer, self.phases), self._specs(), strict=True
        ):
            chart.update(spec)
        for shown in TRANSCRIPTS:
            pool = [g for g in groups if g.kind == shown]
            if pool:
                self.transcripts[shown].update(transcript(pool[0], self.corpus))
        self.card.refresh()


def transcript(group: Group, corpus: Corpus) -> str:
    """One group's prompt with its images and its first response, as escaped HTML."""
    question = corpus[group.question_id]
    completion, grade = group.completions[0], group.grades[0]
    return "\n\n".join(
        [
            f"### {group.kind}: accuracy {group.accuracy:.0%} of {len(group.completions)}",
            image_tags(question.images),
            "**Prompt**",
            safe_text(group.prompt.text),
            f"**Response** ({grade.outcome})",
            safe_text(completion.text),
            "**Gold answer**",
            safe_text(question.gold),
        ]
    )
