"""One rollout step: Algorithm 1 of the paper, phase by phase (section 2).

Every phase goes through `record`, which commits its result to the run's journal or, after a crash,
gives back what was committed. The invariant: every token with a gradient was sampled by the current
student, or with `compute.staleness` by the one of an update ago; teacher text stands in prompts
alone. `ahead` has what could begin before its phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from zppo_core.algorithm.augmentation_plan import hardest_first, plan_augmentations
from zppo_core.algorithm.demonstrations import (
    evidence,
    with_demonstrations,
    with_rescues,
    without_replaced,
)
from zppo_core.algorithm.dynamic_sampling import kept, plain_rollouts
from zppo_core.algorithm.reformulation import floor_fraction, settled
from zppo_core.algorithm.replay_buffer import BufferEvent
from zppo_core.algorithm.rollouts import (
    Drawn,
    Scene,
    StaleWeightsError,
    plain_asks,
    plain_groups,
)
from zppo_core.algorithm.step_types import (
    Ask,
    Corpus,
    Record,
    Roles,
    RolloutState,
    StepResult,
    TeacherPhase,
)
from zppo_core.algorithm.streaming import Ahead, any_right
from zppo_core.algorithm.student_update import distill_student, dynamic_groups, update_student
from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.processes.background import Background
from zppo_core.streams import stream
from zppo_core.types import Group


def rollout_step(
    state: RolloutState,
    roles: Roles,
    corpus: Corpus,
    config: Config,
    record: Record,
    begin_next: bool = False,
) -> StepResult:
    """Perform rollout step `state.step` and advance `state` (Algorithm 1).

    With `begin_next` the next step's plain rollouts are sampled by the weights of before the update
    (`compute.staleness`, not of the paper).
    """
    step, method = state.step, method_of(config)
    scene = Scene(state, roles, corpus, config)

    # 1. plain rollouts on X = X_new ∪ X_replay
    asks = plain_asks(scene)
    new = sum(ask.kind == "plain" for ask in asks)
    cap = floor_fraction(config.reformulation.ratio, new)
    if step < method.exempt * config.run.rollout_steps:
        cap = 0
    with Background() as beside:
        ahead = Ahead(scene, beside, cap)
        plain = record("plain", lambda: plain_rollouts(asks, ahead))
        hard = [g for g in plain if g.accuracy < config.replay.threshold]

        # 2., 3. teacher rollouts on the hard questions, fresh on every visit; the caps
        teacher = record("teacher", lambda: teacher_rollouts(plain, hard, cap, ahead))

        # 4. reformulate; 5. student rollouts on the reformulated prompts
        reformulated = record("reformulate", lambda: reformulate(hard, teacher, ahead))
        augmented = record("augmented", lambda: ahead.searched(hard, teacher, reformulated))
    spare = ahead.spare(teacher.draws)

    # 6. the buffer from plain rollouts only, and update the student on all groups
    events: list[BufferEvent] = []
    if method.replay:
        events = state.buffer.update_all({g.question_id: g.accuracy for g in plain}, step)
    for group in plain:
        state.visits[group.question_id] = state.visits.get(group.question_id, 0) + 1
    with Background() as beside:
        if begin_next:
            sample_next(scene, record, beside)
        if method.objective.learns_from == "advantages":
            trained = trained_groups(plain, augmented, teacher, scene, len(asks))
            update = without_replaced(update_student(trained, state, roles, config), trained)
        else:
            shown = evidence(plain, teacher, scene)
            update = distill_student(plain, teacher, method.objective, state, roles, shown)
    state.step += 1
    return StepResult(
        step,
        tuple(plain),
        teacher,
        tuple(reformulated),
        tuple(augmented),
        update,
        tuple(events),
        len(state.buffer),
        spare,
    )


def trained_groups(
    plain: Sequence[Group],
    augmented: Sequence[Group],
    teacher: TeacherPhase,
    scene: Scene,
    count: int,
) -> list[Group]:
    """The groups of a step that its method trains on; `count` is that of the questions planned."""
    method = method_of(scene.config)
    groups = dynamic_groups(plain, augmented) if method.dynamic_sampling else [*plain, *augmented]
    if method.sampling_rounds > 1:
        groups = kept(groups, count)
    if method.merges:
        groups = with_rescues(plain, augmented)
    return with_demonstrations(groups, teacher, scene)


def sample_next(scene: Scene, record: Record, beside: Background) -> None:
    """Sample the next step's plain rollouts by the weights that are there now.

    They are recorded before the update is, so that a killed run finds them and needs no weights of
    before. `beside` the update where the student has no process or GPU in common with the learner.
    """
    following = replace(scene, ahead=scene.ahead + 1)

    def sampled() -> None:
        record("plain", lambda: plain_groups(following), ahead=1)

    if scene.roles.overlaps:
        beside.submit(sampled)
    else:
        sampled()


def teacher_rollouts(
    plain: Sequence[Group], hard: Sequence[Group], cap: int, ahead: Ahead
) -> TeacherPhase:
    """Fresh teacher rollouts where they can matter, and the plan under the pre- and post-cap.

    A loss that learns from the teacher's responses draws for every question of the step.

    `teacher.scope` "hard" draws for every hard question, "augmented" only for those that the walk
    reaches; draws are keyed, so both give the same plan.
    """
    config = ahead.scene.config
    method = method_of(config)
    if method.objective.draws_for_all:
        return TeacherPhase(ahead.draws([g.question_id for g in plain]), ())
    if not method.reformulations:
        return TeacherPhase({}, ())
    drawn: dict[str, Drawn] = {}

    def has_correct(indices: Sequence[int]) -> list[bool]:
        ids = [hard[i].question_id for i in indices]
        drawn.update(ahead.draws([q for q in ids if q not in drawn]))
        return [any_right(drawn[q]) for q in ids]

    order = partial(stream, config.run.seed, "augmentation order", ahead.scene.step)
    accuracies = [g.accuracy for g in hard]
    ahead.plan(hard, hardest_first(accuracies, order())[: max(cap, 0)])
    if config.teacher.scope == "hard":
        has_correct(range(len(hard)))
    plan = plan_augmentations(accuracies, has_correct, cap, order(), method.reformulations)
    return TeacherPhase(drawn, tuple((hard[i].question_id, kind) for i, kind in plan))


def reformulate(hard: Sequence[Group], teacher: TeacherPhase, ahead: Ahead) -> list[Ask]:
    """Turn the planned instances into prompts: choose, compress, anonymise (sections 2 and 5)."""
    groups = {g.question_id: g for g in hard}
    return ahead.asks(
        settled(
            [ahead.instance(groups[q], kind, teacher.draws.get(q, ())) for q, kind in teacher.plan]
        )
    )


__all__ = ["StaleWeightsError", "rollout_step"]
