"""The instances of a step: which responses stand in a prompt, and the prompt (sections 2 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.reformulation import choose_wrong, reformulate_bcq, reformulate_ncq, share
from zppo_core.algorithm.step_types import Ask, Roles, TeacherDraw
from zppo_core.config import Config
from zppo_core.rewards.where import whole_turn
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Group, Kind, Prompt, Question


@dataclass(frozen=True, eq=False)
class Chosen:
    """What an instance is made of: a right teacher rollout, wrong rollouts of the student."""

    right: Draw | None
    wrong: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Instance:
    """A question that is asked again, and by what; `rng` goes on where the choice ended."""

    question: Question
    kind: Kind
    chosen: Chosen
    rng: np.random.Generator

    @property
    def shown(self) -> tuple[str, ...]:
        """The responses that stand in the prompt, compressed."""
        right = self.chosen.right
        if self.kind not in ("bcq", "ncq"):
            return ()
        return (*(() if right is None else (right.text,)), *self.chosen.wrong)


def choose(
    kind: Kind,
    group: Group,
    draws: Sequence[TeacherDraw],
    rng: np.random.Generator,
    boxed: bool = True,
) -> Chosen:
    """One of each for BCQ, uniformly; all wrong rollouts for NCQ; a right one for the others.

    `boxed`: the wrong one has a boxed answer if any has (`reformulation.wrong`).
    """
    pairs = zip(group.completions, group.grades, strict=True)
    thinking = group.prompt.thinking
    wrong = [
        (whole_turn(c.text, thinking, c.finish == "length"), g.answer)
        for c, g in pairs
        if g.reward == 0.0
    ]
    if kind == "ncq":
        return Chosen(None, tuple(text for text, _ in wrong))
    right = [d.draw for d in draws if d.grade.reward == 1.0]
    positive = right[int(rng.random() * len(right))]
    if kind != "bcq":
        return Chosen(positive, ())
    index = choose_wrong([answer for _, answer in wrong], rng, boxed)
    return Chosen(positive, (wrong[index][0],))


@dataclass
class PromptWriter:
    """Turns instances into prompts; a text that stands in two of a step is compressed once."""

    roles: Roles
    config: Config
    seed: int
    short: dict[str, Compressed] = field(default_factory=dict)

    def write(self, instances: Sequence[Instance]) -> list[Ask]:
        """The prompts of `instances`, in order: compressed, anonymised (section 5)."""
        texts = dict.fromkeys(t for one in instances for t in one.shown)
        new = [t for t in texts if t not in self.short]
        made = self.roles.compressor.compress(new, self.seed)
        self.short |= dict(zip(new, made, strict=True))
        hinted = [
            (one.question.text, one.chosen.right.text)
            for one in instances
            if one.kind == "hint" and one.chosen.right is not None
        ]
        hints = iter(self.roles.hints.write(hinted, self.seed))
        return [self._ask(one, next(hints) if one.kind == "hint" else None) for one in instances]

    def _ask(self, one: Instance, hint: Compressed | None) -> Ask:
        templates, question, right = self.roles.templates, one.question, one.chosen.right
        forced: tuple[int, ...] = ()
        text, first, positive = templates.with_closer(question.text), None, hint
        negatives = tuple(self.short[t] for t in one.chosen.wrong)
        if one.kind == "ncq":
            text = reformulate_ncq(question, [n.text for n in negatives], templates).text
        elif right is None:
            raise ValueError(f"{question.id}: {one.kind} was planned without a right rollout")
        elif one.kind == "bcq":
            positive = self.short[right.text]
            made = reformulate_bcq(question, positive.text, negatives[0].text, one.rng, templates)
            text, first = made.text, made.right_first
        elif hint is not None:
            text = templates.hint(question.text, hint.text)
        else:
            length = share(self.config.reformulation.prefix_share, len(right.token_ids_T))
            forced = tuple(int(t) for t in right.token_ids_T[:length])
        prompt = Prompt(text, question.images, self.config.student.thinking, forced=forced)
        return Ask(question.id, one.kind, prompt, first, positive, negatives)
