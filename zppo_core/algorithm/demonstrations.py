"""What takes the place of a group's rollouts: teacher responses (LUFFY), hinted rollouts (Scaf)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zppo_core.algorithm.reformulation import one_right
from zppo_core.algorithm.rollouts import Scene
from zppo_core.algorithm.step_types import TeacherPhase, UpdatePhase
from zppo_core.algorithm.streaming import any_right
from zppo_core.config.schema import method_of
from zppo_core.streams import stream
from zppo_core.types import Completion, EncodedPrompt, Grade, Group


def with_demonstrations(
    groups: Sequence[Group], teacher: TeacherPhase, scene: Scene
) -> list[Group]:
    """The groups with as many demonstrations as the method's loss has, as far as there are any.

    They are drawn among a question's right teacher responses without putting back, and count in the
    group's baseline as rollouts do (arXiv 2504.14945, mixed-policy GRPO).
    """
    count = method_of(scene.config).objective.demonstrations
    if not count:
        return list(groups)
    shown = []
    for group in groups:
        right = [d for d in teacher.draws.get(group.question_id, ()) if d.grade.reward == 1.0]
        rng = stream(scene.config.run.seed, "demonstrations", scene.step, group.question_id)
        taken = [right[int(i)] for i in rng.permutation(len(right))[:count]]
        kept = len(group.completions) - len(taken)
        given = [
            Completion(
                d.draw.text,
                d.draw.token_ids_T,
                np.zeros(len(d.draw.token_ids_T), np.float32),
                d.draw.finish,
                scene.step,
                given=True,
            )
            for d in taken
        ]
        completions = (*group.completions[:kept], *given)
        grades = (*group.grades[:kept], *(d.grade for d in taken))
        shown.append(replace(group, completions=completions, grades=grades))
    return shown


def evidence(
    plain: Sequence[Group], teacher: TeacherPhase, scene: Scene
) -> dict[str, EncodedPrompt]:
    """By question, the prompt that shows one of its right teacher responses, for a self-teacher.

    Empty where the method's loss has no use for it (arXiv 2601.18734, the teacher's context).
    """
    if not method_of(scene.config).objective.evidence:
        return {}
    prompts = {}
    for group in plain:
        question_id, templates = group.question_id, scene.roles.templates
        draws = teacher.draws.get(question_id, ())
        if any_right(draws):
            rng = stream(scene.config.run.seed, "evidence", scene.step, question_id)
            text = templates.render(
                "evidence",
                question=scene.corpus[question_id].text,
                solution=templates.neutralise(one_right(draws, rng).text),
                closer=templates.closer,
            )
            prompts[question_id] = scene.roles.encode(replace(group.prompt, text=text))
    return prompts


def with_rescues(plain: Sequence[Group], augmented: Sequence[Group]) -> list[Group]:
    """The plain groups; where none is right, the first right reformulated rollout of the question.

    It takes the place of the last wrong one, and keeps the prompt that it was sampled on
    (arXiv 2510.19807, on-policy batch augmentation).
    """
    right: dict[str, tuple[Completion, Grade]] = {}
    for group in augmented:
        for completion, grade in zip(group.completions, group.grades, strict=True):
            if grade.reward == 1.0:
                prompted = replace(completion, prompt=group.prompt)
                right.setdefault(group.question_id, (prompted, grade))
    merged = []
    for group in plain:
        if group.accuracy == 0.0 and group.question_id in right:
            completion, grade = right[group.question_id]
            completions = (*group.completions[:-1], completion)
            group = replace(group, completions=completions, grades=(*group.grades[:-1], grade))
        merged.append(group)
    return merged


def without_replaced(update: UpdatePhase, groups: Sequence[Group]) -> UpdatePhase:
    """What is recorded of an update: a rollout that another one replaced had no advantage."""
    advantages = dict(update.advantages)
    for group in groups:
        other_G = np.array([c.given or c.prompt is not None for c in group.completions])
        if other_G.any():
            advantages[group.uid] = np.where(other_G, 0.0, advantages[group.uid])
    return replace(update, advantages=advantages)
