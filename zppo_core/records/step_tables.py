"""The tables of a finished rollout step: step, kinds, updates, buffer events, advantages, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zppo_core.algorithm.step_types import StepResult
from zppo_core.config.methods import find_loss
from zppo_core.records.context import Files, RecordContext
from zppo_core.records.phases import Spent
from zppo_core.records.schema import encode
from zppo_core.types import Group


def step_files(
    context: RecordContext,
    result: StepResult,
    threshold: float,
    spent: Spent,
    sync: Mapping[str, float],
) -> Files:
    """The tables of a finished step: its summary, updates, advantages and buffer events."""
    key = context.key
    groups = [*result.plain, *result.augmented]
    hard = [g for g in result.plain if g.accuracy < threshold]
    used = [kind for _, kind in result.teacher.plan]
    eligible = sum(
        any(d.grade.reward == 1.0 for d in result.teacher.draws.get(g.question_id, ()))
        for g in hard
    )
    step = {
        **key,
        "new_prompts": sum(g.kind == "plain" for g in result.plain),
        "replay_prompts": sum(g.kind == "replay" for g in result.plain),
        "hard": len(hard),
        "hard_in_buffer": sum(g.kind == "replay" for g in hard),
        "eligible_bcq": eligible,
        "eligible_ncq": len(hard),
        **{f"used_{k}": used.count(k) for k in ("bcq", "ncq", "hint", "prefix")},
        "buffer_size": result.buffer_size,
        "mismatch_mean": result.update.mismatch_mean,
        "mismatch_max": result.update.mismatch_max,
        "weight_version": result.step,
    }
    kinds = [
        kind_row(key, kind, groups, result.update.advantages)
        for kind in dict.fromkeys(g.kind for g in groups)
    ]
    replayed = {g.question_id for g in result.plain if g.kind == "replay"}
    events = [
        {
            **key,
            "question_id": e.question_id,
            "event": e.kind,
            "accuracy": None if np.isnan(e.accuracy) else e.accuracy,
            "entry_accuracy": e.entry_accuracy,
            "entry_step": e.entry_step,
            "visits": e.visits,
            "replayed": e.question_id in replayed,
        }
        for e in result.events
    ]
    columns = (
        "loss",
        "grad_norm",
        "entropy",
        "clip_low_share",
        "clip_high_share",
        "dual_clip_share",
        "ratio_mean",
        "tokens",
        "groups",
        "computed_tokens",
        "sent_bytes",
        "seconds",
    )
    updates = [
        {
            **key,
            "update_index": i,
            "skipped_groups": 0,
            "skipped": m.skipped,
            "divisor": m.divisor or None,
            **{c: getattr(m, c) for c in columns},
        }
        for i, m in enumerate(result.update.metrics)
    ]
    if updates:  # counted once a step: the trivial groups of all its mini-batches
        updates[0]["skipped_groups"] = result.update.skipped_groups
    advantages = [
        {**key, "uid": uid, "member": i, "advantage": float(a)}
        for uid, a_G in result.update.advantages.items()
        for i, a in enumerate(a_G)
    ]
    return {
        "steps.parquet": encode("steps", [step]),
        "step_kinds.parquet": encode("step_kinds", kinds),
        "buffer_events.parquet": encode("buffer_events", events),
        "updates.parquet": encode("updates", updates),
        "advantages.parquet": encode("advantages", advantages),
        "costs.parquet": encode("costs", cost_rows(context, result)),
        **context.phase("update", spent, **sync),
    }


def kind_row(
    key: Mapping[str, object],
    kind: str,
    groups: Sequence[Group],
    advantages: Mapping[str, np.ndarray],
) -> dict[str, object]:
    """One kind's share of a step: how many groups, how many trivial, how right."""
    of_kind = [g for g in groups if g.kind == kind]
    return {
        **key,
        "kind": kind,
        "groups": len(of_kind),
        "trivial": sum(g.trivial for g in of_kind),
        "rollouts": sum(len(g.completions) for g in of_kind),
        "positive_advantage": sum(
            int((advantages[g.uid] > 0).sum()) for g in of_kind if g.uid in advantages
        ),
        "accuracy": float(np.mean([g.accuracy for g in of_kind])),
        "tokens": sum(len(c.token_ids_T) - c.forced for g in of_kind for c in g.completions),
    }


def cost_rows(context: RecordContext, result: StepResult) -> list[dict[str, object]]:
    """Tokens by model and activity; `tokens_cap` is the paper's account of them (App. D.3).

    It takes every sequence for the longest there may be, trains on all groups (those with equal
    rewards too), and every run draws for itself, whatever a cache had: it is the upper bound that
    `eval.report.cost.plan` gives beforehand. A summary has a cap of its own, for each attempt.
    """
    groups = [*result.plain, *result.augmented]
    draws = [d for drawn in result.teacher.draws.values() for d in drawn]
    new_draws = [d for d in draws if not d.draw.cached]
    summaries = dict.fromkeys(
        c for a in result.asks for c in (a.positive, *a.negatives) if c is not None
    )
    updates, longest = result.update.metrics, context.longest

    def sampled(some: Sequence[Group]) -> int:
        return sum(len(c.token_ids_T) - c.forced for g in some for c in g.completions)

    def responses(some: Sequence[Group]) -> int:
        return sum(len(g.completions) for g in some)

    count = responses(groups)
    objective = find_loss(context.loss)
    if objective.learns_from == "student":
        count = responses(result.plain)
    elif objective.learns_from == "teacher":
        count = sum(d.grade.reward == 1.0 for d in draws)
    learned = sum(m.tokens for m in updates), count * longest
    entries = [
        ("student", "generate", sampled(groups), responses(groups) * longest),
        ("student", "train", *learned),
        (
            "teacher",
            "generate",
            sum(len(d.draw.token_ids_T) for d in new_draws)
            + sum(c.tokens - c.recalled for c in summaries),
            len(draws) * longest + sum(c.attempts for c in summaries) * context.candidate_tokens,
        ),
    ]
    if len(updates) > 1:  # with I = 1 there is no pass for the old log-probabilities
        entries.append(("student", "rescore", *learned))
    if result.spare:  # drawn on a guess: no part of the paper's account
        entries.append(("teacher", "spare", result.spare, 0))
    if objective.evidence:  # the student reads them once more, after its evidence
        entries.append(("student", "rescore", *learned))
    if objective.teacher_weights:  # the teacher reads every token that is learned from
        entries.append(("teacher", "rescore", *learned))
    trained = sum(m.seconds for m in updates)
    return [
        {
            **context.key,
            "role": role,
            "activity": activity,
            "model_params": context.student_params if role == "student" else context.teacher_params,
            "tokens": tokens,
            "tokens_cap": cap,
            "seconds": trained if activity == "train" else 0.0,
        }
        for role, activity, tokens, cap in entries
        if cap or tokens
    ]
