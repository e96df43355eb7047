"""The curves of a run so far, of the database's views: on the epoch card and on the summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eval.report.palette import kind_order
from eval.report.progress import Progress, StepRow
from steps.cards.chart import Format, Points, lines, percent, plain, precise, seconds, stacked

WHOLE = (0.0, 1.0)
BUFFER = "#0072b2"


def of_steps(steps: Sequence[StepRow], names: Mapping[str, str]) -> dict[str, Points]:
    """Series by the name they are shown under, of the columns that have them."""
    lines: dict[str, Points] = {}
    for shown, column in names.items():
        points = [
            (row["step"], float(value))
            for row in steps
            if isinstance(value := dict(row)[column], (int, float))
        ]
        if points:
            lines[shown] = points
    return lines


def by(rows: Iterable[Mapping[str, object]], name: str, value: str) -> Mapping[str, Points]:
    """Rows with a step as a series for each value of `name`."""
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        step, height = row["step"], row[value]
        if isinstance(step, int) and isinstance(height, (int, float)):
            points.setdefault(str(row[name]), []).append((step, float(height)))
    return (
        {key: points[key] for key in sorted(points, key=kind_order)} if name == "kind" else points
    )


def learning(record: Progress) -> list[str]:
    """What the student learns and writes: accuracy, buffer, groups, responses."""
    steps = record["steps"]
    accuracy = by(record["kinds"], "kind", "accuracy")
    return [
        lines("Accuracy by kind of group", accuracy, percent, WHOLE),
        stacked(
            "Replay buffer by accuracy at admission",
            by(record["held"], "entry", "held"),
            plain,
            shades=BUFFER,
        ),
        lines(
            "Questions that enter and leave the buffer",
            of_steps(
                steps, {"admitted": "admitted", "graduated": "graduated", "evicted": "evicted"}
            ),
        ),
        lines(
            "Groups and responses that teach",
            of_steps(steps, {"trivial groups": "trivial_share", "advantage > 0": "positive_share"}),
            percent,
            WHOLE,
            note="a trivial group has equal rewards: its advantages are 0",
        ),
        lines(
            "Length of a response",
            by(record["kinds"], "kind", "response_tokens"),
            note="tokens, mean by kind of group",
        ),
        lines(
            "Responses without an answer",
            of_steps(
                record["steps"], {"cut at the cap": "truncated_share", "no box": "no_box_share"}
            ),
            percent,
        ),
    ]


def optimisation(record: Progress) -> list[str]:
    """The updates: loss, gradient, entropy, clips, ratio, mismatch."""
    steps = record["steps"]

    def one(title: str, column: str, note: str, zero: bool = True, form: Format = plain) -> str:
        return lines(title, of_steps(steps, {"mean": column}), form, None, zero, note)

    return [
        one("Entropy", "entropy", "nats a token, of the student's distribution"),
        one("Loss", "loss", "of the surrogate, mean over a step's updates", zero=False),
        one("Gradient norm", "grad_norm", "before clipping"),
        lines(
            "Tokens bound by a clip",
            of_steps(
                steps,
                {"lower": "clip_low_share", "upper": "clip_high_share", "dual": "dual_clip_share"},
            ),
            percent,
        ),
        one("Probability ratio", "ratio_mean", "new over old policy, over tokens", False, precise),
        lines(
            "Sampler against trainer",
            of_steps(steps, {"mean": "mismatch_mean", "largest": "mismatch_max"}),
            plain,
            note="difference of log-probabilities, nats",
        ),
    ]


def speed(record: Progress) -> list[str]:
    """Time: tokens a second, seconds by phase."""
    order = ("plain", "teacher", "reformulate", "augmented", "update")
    spent = by(record["phases"], "phase", "seconds")
    ranked = sorted(spent, key=lambda p: (order.index(p) if p in order else len(order), p))
    return [
        lines(
            "Sampled tokens a second", of_steps(record["steps"], {"tokens/s": "tokens_per_second"})
        ),
        stacked("Seconds by phase", {name: spent[name] for name in ranked}, seconds),
        lines(
            "Models at work",
            by(record["busy"], "role", "busy"),
            percent,
            WHOLE,
            note="share of a step's time; the rest of it a model waits",
        ),
    ]
