"""How a rollout step updates the student: by advantages (sections 3, 4) or without (section 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from zppo_core.algorithm.advantages import group_advantages
from zppo_core.algorithm.step_types import Roles, RolloutState, TeacherPhase, UpdatePhase
from zppo_core.algorithm.train_groups import (
    Suffix,
    TrainGroup,
    UpdateMetrics,
    given_suffix,
    sampler_mismatch,
    to_train_group,
)
from zppo_core.config import Config
from zppo_core.config.methods import Loss
from zppo_core.config.schema import method_of
from zppo_core.errors import UserError
from zppo_core.streams import stream
from zppo_core.types import EncodedPrompt, Group

SKIPPED = 3  # mini-batches in a row without a finite gradient end the run


class NotFiniteError(UserError):
    """Too many mini-batches in a row had no finite gradient: the run learns nothing more."""


def update_student(
    groups: Sequence[Group], state: RolloutState, roles: Roles, config: Config
) -> UpdatePhase:
    """Advantages, then I updates over equal parts of the groups (sections 3 and 4).

    Groups with equal rewards cost no forward pass; their tokens still count in the mean, as in the
    paper, where they sit in the batch with advantage 0. A part of nothing else has its step too.
    """
    updates, step = config.optimizer.updates, state.step
    order = stream(config.run.seed, "minibatches", step).permutation(len(groups))
    parts = [[groups[i] for i in part] for part in np.array_split(order, updates)]
    scopes = [groups] if config.advantage.scope == "rollout" else parts
    advantages: dict[str, np.ndarray] = {}
    for scope in scopes:
        if scope:
            rewards_BG = np.stack([g.rewards_G for g in scope])
            values_BG = group_advantages(rewards_BG, config.advantage.norm, config.advantage.eps)
            advantages |= {g.uid: a_G for g, a_G in zip(scope, values_BG, strict=True)}

    train: list[list[TrainGroup]] = [
        [t for g in computed(part) for t in train_groups(g, advantages[g.uid], roles)]
        for part in parts
    ]
    if method_of(config).objective.mean == "response":
        train = [response_mean(t, part) for t, part in zip(train, parts, strict=True)]
    active = [g for part in train for g in part]
    if updates > 1:  # with I = 1 the current log-probabilities are the old ones: no pass for them
        scores = roles.learner.score(active)
        mismatch = sampler_mismatch(active, scores)
        refuse_mismatch(mismatch[0], step, config)
        old = iter(scores)
        train = [[g.with_old_logp(next(old)) for g in part] for part in train]
    metrics = []
    for part, part_train in zip(parts, train, strict=True):
        tokens = sum(sampled_tokens(g) for g in part)
        metrics.append(roles.learner.update(part_train, tokens=tokens))
        count_skipped(metrics[-1], state)
    if updates == 1:
        mismatch = metrics[0].mismatch_mean, metrics[0].mismatch_max
        refuse_mismatch(mismatch[0], step, config)
    # a mini-batch of trivial groups alone computes one of them, which does not make it less trivial
    return UpdatePhase(
        tuple(metrics), advantages, *mismatch, skipped_groups=sum(g.trivial for g in groups)
    )


def train_groups(group: Group, advantages_G: np.ndarray, roles: Roles) -> list[TrainGroup]:
    """The group for the trainer, and apart from it each rollout that has a prompt of its own."""
    prompts = list(dict.fromkeys(c.prompt for c in group.completions))
    if prompts == [None]:
        return [to_train_group(group, advantages_G, roles.encode(group.prompt))]
    parts = []
    for prompt in prompts:
        places = [i for i, c in enumerate(group.completions) if c.prompt == prompt]
        part = replace(
            group,
            completions=tuple(group.completions[i] for i in places),
            grades=tuple(group.grades[i] for i in places),
        )
        encoded = roles.encode(group.prompt if prompt is None else prompt)
        parts.append(to_train_group(part, advantages_G[places], encoded))
    return parts


def response_mean(train: Sequence[TrainGroup], part: Sequence[Group]) -> list[TrainGroup]:
    """The groups of mini-batch `part` so weighted that its token mean is a mean over responses.

    A surrogate is linear in a positive factor of the advantage: a response of n tokens has the
    mini-batch's mean length over n. Responses without a sampled token count as one of them.
    """
    responses = sum(len(g.completions) for g in part)
    mean = sum(map(sampled_tokens, part)) / max(responses, 1)

    def weighted(suffix: Suffix) -> Suffix:
        factor = np.float32(mean / max(int(suffix.mask_T.sum()), 1))
        return replace(suffix, weights_T=suffix.weights_T * factor)

    return [replace(g, suffixes=tuple(map(weighted, g.suffixes))) for g in train]


def computed(part: Sequence[Group]) -> list[Group]:
    """The groups of a mini-batch that need the model: those with something to learn.

    If there are none, the shortest stands for all: its gradient is zero, and AdamW's momentum and
    weight decay still move the weights, as in the paper.
    """
    active = [g for g in part if not g.trivial]
    return active or sorted(part, key=sampled_tokens)[:1]


def dynamic_groups(plain: Sequence[Group], augmented: Sequence[Group]) -> list[Group]:
    """Dynamic sampling after reformulation: trivial groups leave the batch, but a plain group stays
    as long as a reformulation of its question has something to teach (zppo_dynamic)."""
    lively = {g.question_id for g in augmented if not g.trivial}
    stay = [g for g in plain if not g.trivial or g.question_id in lively]
    return stay + [g for g in augmented if not g.trivial]


def distill_student(
    plain: Sequence[Group],
    teacher: TeacherPhase,
    objective: Loss,
    state: RolloutState,
    roles: Roles,
    evidence: Mapping[str, EncodedPrompt],
) -> UpdatePhase:
    """One update without advantages, like that to the teacher's distribution (section 7).

    On the student's own responses, or on the teacher's right ones; a question without one is left
    out, and where the student teaches itself, one without `evidence` (prompts by question). Student
    rollouts that are not learned from are for the buffer's accounting alone.
    """
    groups = []
    for g in plain:
        encoded = roles.encode(g.prompt)
        if objective.evidence and g.question_id not in evidence:
            continue
        if objective.learns_from == "student":
            group = to_train_group(g, np.zeros(len(g.completions)), encoded)
            groups.append(replace(group, evidence=evidence.get(g.question_id)))
            continue
        right = [d.draw.token_ids_T for d in teacher.draws[g.question_id] if d.grade.reward == 1.0]
        if right:
            groups.append(TrainGroup(g.uid, g.kind, encoded, tuple(map(given_suffix, right))))
    metrics = roles.learner.update(groups)
    count_skipped(metrics, state)
    return UpdatePhase(
        (metrics,),
        {},
        metrics.mismatch_mean,
        metrics.mismatch_max,
        skipped_groups=len(plain) - len(groups),
    )


def count_skipped(metrics: UpdateMetrics, state: RolloutState) -> None:
    """Count mini-batches in a row without a finite gradient; NotFiniteError at `SKIPPED` of them.

    A mini-batch without groups takes no step and tells nothing: it does not break a row.
    """
    if metrics.groups:
        state.skipped = state.skipped + 1 if metrics.skipped else 0
    if state.skipped >= SKIPPED:
        raise NotFiniteError(
            f"the gradient is not finite in {SKIPPED} mini-batches in a row, the last of them in "
            f"rollout step {state.step + 1}"
        )


def refuse_mismatch(mean: float, step: int, config: Config) -> None:
    """Stop a run whose sampler and trainer disagree from the start: its ratios would be noise."""
    if step == 0 and not math.isfinite(mean):
        raise UserError(
            "log-probabilities of sampler or trainer are not finite at the first step; check the "
            "student's weights, or compute with student.dtype=float32"
        )
    if step == 0 and mean > config.trainer.max_mismatch:
        raise UserError(
            f"sampler and trainer disagree by {mean:.2g} nats a token at the first step (allowed: "
            f"{config.trainer.max_mismatch:g}); check that both hold the same weights, precision "
            "and forbidden tokens, or raise trainer.max_mismatch"
        )


def sampled_tokens(group: Group) -> int:
    """Response tokens of the group that the student sampled."""
    return sum(len(c.token_ids_T) - c.forced for c in group.completions)
