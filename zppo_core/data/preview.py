"""A corpus before it is trained on: ten rows, kinds of answer, and what the golds earn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from zppo_core.data.corpus import ListCorpus
from zppo_core.data.kinds import kind_of
from zppo_core.data.pixels import picture_size
from zppo_core.types import Grade, Question

SHOWN = 10  # rows
MOST_SHOWN = 2000  # characters of a prompt
CHUNK = 5000  # golds graded at once

GradeAll = Callable[[Sequence[tuple[Question, str]]], list[Grade]]


@dataclass(frozen=True)
class Shown:
    """A question as the student will see it, and what its own gold answer earns."""

    question: Question
    prompt: str
    kind: str
    reward: float | None  # None: a judge decides

    def text(self) -> str:
        """It as lines: its answer, its pictures, its prompt."""
        earned = "a judge decides" if self.reward is None else f"the gold earns {self.reward:g}"
        sizes = [" x ".join(map(str, picture_size(data))) for data in self.question.images]
        pictures = f"; pictures {', '.join(sizes)}" if sizes else ""
        prompt = self.prompt
        if len(prompt) > MOST_SHOWN:
            half = MOST_SHOWN // 2
            left_out = f" ... ({len(prompt) - MOST_SHOWN:,} characters more) ... "
            prompt = prompt[:half] + left_out + prompt[-half:]
        below = "\n".join(f"    {_visible(line)}" for line in prompt.rstrip().split("\n"))
        head = f"{self.question.id}: answer {self.question.gold!r}, {self.kind}; {earned}{pictures}"
        return f"{head}\n{below}"


@dataclass(frozen=True)
class Preview:
    """A corpus before training: `shown` rows, and all golds by kind and by what they earn."""

    shown: tuple[Shown, ...]
    by_kind: dict[str, int]
    unrewarded: tuple[tuple[str, str, str], ...]  # (id, gold, outcome) of golds that earn nothing
    graded: int

    def text(self) -> str:
        """The report, as lines."""
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.by_kind.items())
        lines = [f"answers by kind: {kinds}"]
        if self.unrewarded:
            first = "; ".join(f"{i} {gold!r} ({why})" for i, gold, why in self.unrewarded[:3])
            lines.append(
                f"{len(self.unrewarded):,} of {self.graded:,} gold answers do not earn the reward "
                f"themselves, so that nothing can: {first}"
            )
        else:
            lines.append(f"each of {self.graded:,} gold answers earns the reward itself")
        return "\n".join([*lines, *(row.text() for row in self.shown)])


def _visible(line: str) -> str:
    """A line without what would steer a terminal: an escape character shows as \\x1b."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def preview(corpus: ListCorpus, render: Callable[[Question], str], grade_all: GradeAll) -> Preview:
    """The report on a corpus. `render` gives the whole prompt; `grade_all` the run's own rewards.

    Rows are shown in the order in which the first pass asks them, each kind of answer first once.
    """
    by_kind: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    unrewarded: list[tuple[str, str, str]] = []
    questions = corpus.without_pictures()
    while chunk := list(islice(questions, CHUNK)):
        for question in chunk:
            kinds[question.id] = kind_of(question)
        by_rule = [q for q in chunk if not q.judged]
        for q, grade in zip(by_rule, _golds(by_rule, grade_all), strict=True):
            if grade.reward != 1.0:
                unrewarded.append((q.id, q.gold, grade.outcome))
    by_kind.update(kinds.values())
    order = corpus.new_ids(0, len(corpus))
    first_of_kind = list({kinds[i]: i for i in reversed(order)}.values())
    distinct = dict.fromkeys([*first_of_kind, *order])
    chosen = sorted(islice(distinct, SHOWN), key=order.index)
    failed = {i for i, _, _ in unrewarded}
    rows = [corpus[i] for i in chosen]
    shown = tuple(
        Shown(q, render(q), kinds[q.id], None if q.judged else float(q.id not in failed))
        for q in rows
    )
    judged = sum(kind == "free text" for kind in kinds.values())
    return Preview(shown, dict(by_kind.most_common()), tuple(unrewarded), len(kinds) - judged)


def _golds(questions: Sequence[Question], grade_all: GradeAll) -> list[Grade]:
    """What a response earns that says the gold answer, and nothing else."""
    return grade_all([(q, f"<think>\n</think>\n\\boxed{{{q.gold}}}") for q in questions])
