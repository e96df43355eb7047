"""What a rollout step learns from: the method's choice among its groups, and its update."""

from __future__ import annotations

from collections.abc import Sequence

from zppo_core.algorithm.demonstrations import (
    evidence,
    with_demonstrations,
    with_rescues,
    without_replaced,
)
from zppo_core.algorithm.dynamic_sampling import kept
from zppo_core.algorithm.rollouts import Scene
from zppo_core.algorithm.step_types import TeacherPhase, UpdatePhase
from zppo_core.algorithm.student_update import distill_student, dynamic_groups, update_student
from zppo_core.config.schema import method_of
from zppo_core.types import Group


def learn(
    plain: Sequence[Group], augmented: Sequence[Group], teacher: TeacherPhase, scene: Scene
) -> UpdatePhase:
    """Update the student on all groups of a step, or on those that the method keeps (section 7)."""
    state, roles, config = scene.state, scene.roles, scene.config
    method = method_of(config)
    if method.objective.learns_from != "advantages":
        prompts = evidence(plain, teacher, scene)
        return distill_student(plain, teacher, method.objective, state, roles, prompts)
    groups = [*plain, *augmented]
    if method.dynamic_sampling:
        groups = dynamic_groups(plain, augmented)
    if method.sampling_rounds > 1:
        groups = kept(groups, sum(g.kind != "resampled" for g in plain))
    if method.merges:
        groups = with_rescues(plain, augmented)
    groups = with_demonstrations(groups, teacher, scene)
    return without_replaced(update_student(groups, state, roles, config), groups)
