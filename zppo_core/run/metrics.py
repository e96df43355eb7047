"""Names, units and values of a rollout step's metrics: what metrics.jsonl and trackers are told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from zppo_core.algorithm.step_types import StepResult
from zppo_core.types import Group

# name -> (unit, meaning); KIND is a kind of group that the step has, PHASE a phase of the step
NAMES = {
    "accuracy/KIND": ("fraction", "mean reward"),
    "groups/KIND": ("groups", "prompts with their rollouts"),
    "trivial/KIND": ("fraction", "groups with equal rewards: their advantages are 0"),
    "length/KIND": ("tokens", "mean length of a response"),
    "truncated/KIND": ("fraction", "responses that were cut at rollout.max_tokens"),
    "buffer/size": ("questions", "in the replay buffer after the step"),
    "buffer/admit": ("questions", "hard for the first time"),
    "buffer/stay": ("questions", "asked again and still hard"),
    "buffer/graduate": ("questions", "asked again and no longer hard"),
    "buffer/evict": ("questions", "dropped because the buffer was full"),
    "update/loss": ("nats", "mean over the step's updates, by the tokens of each"),
    "update/grad_norm": ("L2", "mean, before clipping"),
    "update/entropy": ("nats", "of the student's distribution, mean over tokens"),
    "update/clip_low_share": ("fraction", "tokens bound by the lower clip"),
    "update/clip_high_share": ("fraction", "tokens bound by the upper clip"),
    "update/dual_clip_share": ("fraction", "tokens bound by the dual clip"),
    "update/ratio_mean": ("ratio", "probability, new over old"),
    "update/skipped": ("updates", "without a finite gradient, so no step was taken"),
    "update/mismatch_mean": ("nats", "log-probability, sampler against trainer"),
    "update/mismatch_max": ("nats", "the largest of the same"),
    "tokens/sampled": ("tokens", "that the student sampled"),
    "tokens/trained": ("tokens", "sampled tokens that the updates learned from"),
    "tokens/spare": ("tokens", "that the teacher drew on a guess and no prompt had a use for"),
    "tokens/per_second": ("tokens/s", "sampled tokens over the step's wall time"),
    "seconds/PHASE": ("s", "wall time of a phase"),
    "seconds/step": ("s", "wall time of the step"),
}
OVER_TOKENS = ("entropy", "clip_low_share", "clip_high_share", "dual_clip_share", "ratio_mean")


def metrics_of(result: StepResult, seconds: Mapping[str, float]) -> dict[str, float]:
    """The step's metrics by name; what is not finite, as a lost gradient's norm, is left out.

    `seconds` is the wall time by phase [s].
    """
    groups = [*result.plain, *result.augmented]
    metrics: dict[str, float] = {}
    for kind in dict.fromkeys(g.kind for g in groups):
        alike = [g for g in groups if g.kind == kind]
        answers = [c for g in alike for c in g.completions]
        metrics |= {
            f"accuracy/{kind}": mean(g.accuracy for g in alike),
            f"groups/{kind}": len(alike),
            f"trivial/{kind}": mean(g.trivial for g in alike),
            f"length/{kind}": mean(len(c.token_ids_T) for c in answers),
            f"truncated/{kind}": mean(c.finish == "length" for c in answers),
        }
    metrics["buffer/size"] = result.buffer_size
    for event in ("admit", "stay", "graduate", "evict"):
        metrics[f"buffer/{event}"] = sum(e.kind == event for e in result.events)
    update, whole = result.update, sum(seconds.values())
    stepped = [m for m in update.metrics if not m.skipped]  # as the database's step_updates has it
    metrics["update/loss"] = mean(
        (m.loss for m in stepped), (m.divisor or m.tokens for m in stepped)
    )
    metrics["update/grad_norm"] = mean(m.grad_norm for m in stepped)
    for name in OVER_TOKENS:
        values = (getattr(m, name) for m in stepped)
        metrics[f"update/{name}"] = mean(values, (m.tokens for m in stepped))
    sampled = sampled_tokens(groups)
    metrics |= {
        "update/skipped": sum(m.skipped for m in update.metrics),
        "update/mismatch_mean": update.mismatch_mean,
        "update/mismatch_max": update.mismatch_max,
        "tokens/sampled": sampled,
        "tokens/trained": sum(m.tokens for m in stepped),
        "tokens/spare": result.spare,
        "tokens/per_second": sampled / whole if whole else math.nan,
        **{f"seconds/{phase}": spent for phase, spent in seconds.items()},
        "seconds/step": whole,
    }
    return {k: float(v) for k, v in metrics.items() if v is not None and math.isfinite(v)}


def sampled_tokens(groups: Iterable[Group]) -> int:
    """Response tokens without those that were given."""
    return sum(len(c.token_ids_T) - c.forced for g in groups for c in g.completions)


def mean(values: Iterable[float], weights: Iterable[float] | None = None) -> float:
    """The mean, by `weights` if there are any; NaN of nothing."""
    held = list(values)
    shares = [1.0] * len(held) if weights is None else list(weights)
    whole = sum(shares)
    pairs = zip(held, shares, strict=True)
    return sum(value * share for value, share in pairs) / whole if whole else math.nan
