"""What is amiss in a run so far, in words: each alarm says what was seen and what to look at."""

from __future__ import annotations

from collections.abc import Sequence

from eval.report.progress import Progress, StepRow

WINDOW = 5  # steps that are averaged at the beginning and at the end
MISMATCH = 0.05  # mean |log-prob of sampler - of trainer| [nats] above which ratios are doubtful
TRIVIAL = 0.9  # share of groups whose advantages are 0
RISE = 0.10  # of truncated responses, as a fraction
CUT = 0.25  # share of truncated responses from which a rise is told
COLLAPSE = 0.5  # of the first entropy


def alarms(progress: Progress, limit: float = 0.0, by_advantage: bool = True) -> list[str]:
    """One sentence for each thing amiss; `limit` is `trainer.max_mismatch` [nats], 0: ours.

    A loss that learns not `by_advantage`, as distillation, learns from groups with equal rewards.
    """
    steps = progress["steps"]
    if not steps:
        return []
    last = steps[-1]
    lines = []
    mismatch, most = last["mismatch_mean"], limit or MISMATCH
    if mismatch is not None and mismatch > most:
        lines.append(
            f"Sampler and trainer disagree: {mismatch:.3g} nats on average at step {last['step']}, "
            f"above {most:g}. Look at the engine's precision and at its weights."
        )
    trivial = _mean(steps[-WINDOW:], "trivial_share") if by_advantage else None
    if trivial is not None and trivial >= 1:
        lines.append(
            "Every group is trivial: all its rewards are equal, so nothing is learned. The "
            "questions are too easy or too hard, or the reward never sees an answer."
        )
    elif trivial is not None and trivial > TRIVIAL:
        lines.append(
            f"{trivial:.0%} of the groups of the last steps are trivial: little is learned."
        )
    lines += [text for text in (_truncation(steps), _entropy(steps)) if text]
    skipped = sum(row["skipped"] or 0 for row in steps)
    if skipped:
        lines.append(f"{skipped} mini-batches were skipped: their gradient was not finite.")
    return lines


def _mean(steps: Sequence[StepRow], column: str) -> float | None:
    values = [v for row in steps if isinstance(v := dict(row)[column], (int, float))]
    return sum(values) / len(values) if values else None


def _ends(steps: Sequence[StepRow], column: str) -> tuple[float, float] | None:
    """The means of the first and of the last steps; None while they would overlap."""
    if len(steps) < 2 * WINDOW:
        return None
    first, last = _mean(steps[:WINDOW], column), _mean(steps[-WINDOW:], column)
    return None if first is None or last is None else (first, last)


def _truncation(steps: Sequence[StepRow]) -> str:
    ends = _ends(steps, "truncated_share")
    if ends is None or ends[1] < CUT or ends[1] - ends[0] < RISE:
        return ""
    return (
        f"Responses are cut more often: {ends[0]:.0%} at the beginning, {ends[1]:.0%} now. "
        "Raise rollout.max_tokens, or look for responses that repeat themselves."
    )


def _entropy(steps: Sequence[StepRow]) -> str:
    ends = _ends(steps, "entropy")
    if ends is None or ends[0] <= 0 or ends[1] > COLLAPSE * ends[0]:
        return ""
    return (
        f"Entropy has fallen from {ends[0]:.3g} to {ends[1]:.3g} nats: the student explores less. "
        "A lower optimizer.lr or a wider upper clip keeps it up."
    )
