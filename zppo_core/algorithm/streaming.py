"""What a rollout step begins as soon as it can, while others still sample.

A group is graded when it is finished; if its question is hard the teacher draws for it; an instance
that is certain to enter under the cap is compressed and written; the student samples its prompt.
All of it is keyed and given back in the order of submission, so that nothing but the time differs.
For an engine that takes one batch after the other nothing begins early: its phase asks for all.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TypeVar

from zppo_core.algorithm.augmentation_plan import certain_instances
from zppo_core.algorithm.reformulation import Instance, PromptContext, PromptWriter
from zppo_core.algorithm.reformulations import find
from zppo_core.algorithm.rollouts import Drawn, Scene, draw_teacher, grade, sample
from zppo_core.algorithm.step_types import Ask, TeacherPhase
from zppo_core.config.schema import method_of
from zppo_core.processes.background import Background
from zppo_core.protocols import Progress, silent
from zppo_core.streams import derive_seed, stream
from zppo_core.types import Completion, Group

T = TypeVar("T")


class Tally:
    """Progress of what begins piece by piece."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._begun = self._done = 0

    def begin(self) -> None:
        """One more is at work."""
        with self._lock:
            self._begun += 1

    def end(self) -> None:
        """One more is finished."""
        with self._lock:
            self._done += 1
            self._progress(self._done, self._begun)


class Ahead:
    """The pieces of one rollout step that have begun, by what they are done for.

    `cap` is the number of reformulated prompts. What has not begun when a phase asks for it begins
    then; pieces are threads of `beside`.
    """

    def __init__(self, scene: Scene, beside: Background, cap: int) -> None:
        self.scene, self._beside, self._cap = scene, beside, cap
        roles, self._method = scene.roles, method_of(scene.config)
        self._kinds = {kind.name: kind for kind in map(find, self._method.reformulations)}
        writer = roles.compressor.engine
        self._student = roles.student.joins
        self._teachers = bool(roles.teachers) and all(t.joins for t in roles.teachers)
        self._writes = self._teachers and (writer is None or writer.joins)
        self._lock = threading.RLock()
        self._groups: dict[str, Future[Group]] = {}
        self._draws: dict[str, Future[Drawn]] = {}
        self._asks: dict[tuple[str, str], Future[Ask]] = {}
        self._answers: dict[str, Drawn] = {}  # draws that are there
        self._hard: list[float] = []  # accuracies of the hard questions so far
        self._walk: tuple[Sequence[Group], Sequence[int]] | None = None
        self._drawing = Tally(roles.progress("teacher"))
        self._sampling = Tally(roles.progress("augmented"))
        seed = derive_seed(scene.config.run.seed, "compression", scene.step)
        self._writer = PromptWriter(PromptContext(roles, scene.config, seed, scene.step))

    def groups(self, asks: Sequence[Ask], phase: str) -> list[Group]:
        """Graded student rollouts on `asks`, in order; each is followed up when it is finished."""
        step = self.scene.step
        missing = [ask for ask in asks if ask.uid(step) not in self._groups]
        for together in sample(missing, self.scene, self.scene.roles.progress(phase)):
            self._beside.check()
            if self._student:
                for ask, completions in together:
                    piece = partial(self._grade, ask, completions)
                    self._groups[ask.uid(step)] = self._beside.submit(piece)
            else:
                self._groups |= {g.uid: _done(g) for g in grade(together, self.scene)}
        return [self._groups[ask.uid(step)].result() for ask in asks]

    def draws(self, question_ids: Sequence[str]) -> dict[str, Drawn]:
        """Graded teacher rollouts for each question."""
        missing = [q for q in question_ids if q not in self._draws]
        if self._teachers:
            for question_id in missing:
                self._draw(question_id)
        else:
            progress = self.scene.roles.progress("teacher")
            drawn = draw_teacher(missing, self.scene, progress)
            self._draws |= {q: _done(draws) for q, draws in drawn.items()}
        return {q: self._draws[q].result() for q in question_ids}

    def plan(self, hard: Sequence[Group], kept: Sequence[int]) -> None:
        """The walk goes over `hard` in the order `kept`: draw for all that it may come to.

        Its rounds would wait for one tail after the other. What it does not come to stays in the
        teacher cache.
        """
        if not self._teachers:
            return
        self._walk = hard, kept
        for index in kept if self._needs_teacher else ():
            self._draw(hard[index].question_id)
        self._advance()

    def asks(self, instances: Sequence[Instance]) -> list[Ask]:
        """The prompts of a step's instances, in order."""
        missing = [one for one in instances if _key(one) not in self._asks]
        if self._writes:
            for one in missing:
                self._write(one)
        else:
            written = self._writer.write(missing)
            self._asks |= {_key(o): _done(a) for o, a in zip(missing, written, strict=True)}
        return [self._asks[_key(one)].result() for one in instances]

    def searched(
        self, hard: Sequence[Group], teacher: TeacherPhase, asks: Sequence[Ask]
    ) -> list[Group]:
        """Student rollouts on `asks`, and on the prompts that follow from how those went."""
        groups = self.groups(asks, "augmented")
        by_id = {g.question_id: g for g in hard}
        tried = {(g.question_id, g.kind): [g] for g in groups if self._kinds[g.kind].searches}
        open_ = {
            (q, kind): self.instance(by_id[q], kind, teacher.draws.get(q, ())) for q, kind in tried
        }
        while open_:
            further: dict[tuple[str, str], Ask] = {}
            for key, one in open_.items():
                ask = one.kind.following(one, tried[key], self._writer.context)
                if ask is not None:
                    further[key] = replace(ask, trial=len(tried[key]))
            for key, group in zip(
                further, self.groups(list(further.values()), "augmented"), strict=True
            ):
                tried[key].append(group)
                groups.append(group)
            open_ = {key: open_[key] for key in further}
        return groups

    def instance(self, group: Group, name: str, draws: Drawn) -> Instance:
        """What a hard question is asked again with: chosen from its `group` and teacher `draws`."""
        config, kind, question_id = self.scene.config, self._kinds[name], group.question_id
        rng = stream(config.run.seed, "candidates", self.scene.step, question_id, name)
        chosen = kind.choose(group, draws, rng, config.reformulation)
        return Instance(self.scene.corpus[question_id], kind, chosen, rng)

    def spare(self, used: Collection[str]) -> int:
        """Tokens that teachers have drawn now for questions that are not `used`.

        For when all that has begun is finished.
        """
        drawn = [d.result() for q, d in self._draws.items() if q not in used]
        return sum(len(d.draw.token_ids_T) for one in drawn for d in one if not d.draw.cached)

    @property
    def _needs_teacher(self) -> bool:
        hard = self.scene.config.teacher.scope == "hard"
        return hard or any(kind.needs_teacher for kind in self._kinds.values())

    def _grade(self, ask: Ask, completions: tuple[Completion, ...]) -> Group:
        (group,) = grade([(ask, completions)], self.scene)
        if self._teachers and ask.kind in ("plain", "replay") and self._due(group):
            self._draw(group.question_id)
        return group

    def _due(self, group: Group) -> bool:
        """Whether the teacher draws for a question before all plain rollouts are there."""
        config = self.scene.config
        if self._method.objective.draws_for_all:
            return True
        if not self._kinds or group.accuracy >= config.replay.threshold:
            return False
        return config.teacher.scope == "hard" or (self._needs_teacher and self._likely(group))

    def _likely(self, group: Group) -> bool:
        """Whether the walk would come to a question if no harder one followed.

        It comes to so many as take all slots; no more are drawn for on a guess.
        """
        with self._lock:
            self._hard.append(group.accuracy)
            reached = -(-self._cap // len(self._kinds))
            rank = sum(accuracy <= group.accuracy for accuracy in self._hard)
            return rank <= reached and len(self._draws) < reached

    def _draw(self, question_id: str) -> None:
        with self._lock:
            if question_id not in self._draws:
                self._drawing.begin()
                self._draws[question_id] = self._beside.submit(partial(self._drawn, question_id))

    def _drawn(self, question_id: str) -> Drawn:
        drawn = draw_teacher([question_id], self.scene, silent)[question_id]
        self._drawing.end()
        with self._lock:
            self._answers[question_id] = drawn
            self._advance()
        return drawn

    def _advance(self) -> None:
        """Have the instances written that are certain to enter by the draws that are there."""
        with self._lock:
            if self._walk is None or not self._writes:
                return
            hard, kept = self._walk
            answers = self._answers if self._needs_teacher else {g.question_id: () for g in hard}
            correct = {
                i: any_right(answers[hard[i].question_id])
                for i in kept
                if hard[i].question_id in answers
            }
            accuracies = [g.accuracy for g in hard]
            names = tuple(self._kinds)
            for i, name in certain_instances(accuracies, kept, correct, self._cap, names):
                one = hard[i]
                if self._kinds[name].alone and (one.question_id, name) not in self._asks:
                    self._write(self.instance(one, name, answers[one.question_id]))

    def _write(self, one: Instance) -> None:
        with self._lock:
            self._asks[_key(one)] = self._beside.submit(partial(self._written, one))

    def _written(self, one: Instance) -> Ask:
        (ask,) = self._writer.write([one])
        if self._student:
            self._sampling.begin()
            uid = ask.uid(self.scene.step)
            self._groups[uid] = self._beside.submit(partial(self._sampled, ask))
        return ask

    def _sampled(self, ask: Ask) -> Group:
        ((answer,),) = sample([ask], self.scene, silent)
        (group,) = grade([answer], self.scene)
        self._sampling.end()
        return group


def any_right(draws: Drawn) -> bool:
    """Whether a teacher rollout is right."""
    return any(d.grade.reward == 1.0 for d in draws)


def _key(one: Instance) -> tuple[str, str]:
    return one.question.id, one.kind.name


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
