"""The page of the zone's sweep, from its result files: `zppo zone --results DIR --page PAGE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eval.render import MISSING, number, put, table, wrapped
from eval.report import zone_claims
from eval.report.plot import Panel, Points, draw, save
from eval.report.zone_claims import Outcome, Verdict, value

GROUPS: dict[str, tuple[str, ...]] = {
    "the paper's methods": (
        *("grpo", "grpo_replay", "grpo_both", "grpo_replay_bcq", "grpo_replay_ncq", "zppo"),
        *("off_distill_replay", "on_distill_replay"),
    ),
    "controls": (
        *("zppo", "zppo_placebo", "grpo_replay_placebo_bcq", "grpo_replay_placebo_ncq"),
        *("grpo_replay_shuffled_bcq", "grpo_replay_lorem", "grpo_replay_bcq_right_only"),
        *("grpo_replay_bcq_wrong_only", "grpo_replay_again"),
    ),
    "methods of others": (
        *("zppo", "luffy", "scaf_grpo", "questa", "bread", "dapo", "gspo", "cispo", "opsd"),
    ),
}
COST = ("zppo", "zppo_placebo", "grpo_replay", "grpo_replay_again", "on_distill_replay")
SMOOTH = 3  # steps that a point of a curve is the mean of
SOON = {"area": "area", "steps_to_half": "steps to ½", "graduated": "graduates a step"}
FINAL = {
    "hard_VLM": "VLM",
    "hard_LLM": "LLM",
    "hard_Video": "Video",
    "new_hard": "new hard kind",
    "easy": "easy",
}


def write(
    outcomes: Sequence[Outcome], judged: Sequence[Verdict], path: Path, sweep: str = "zone"
) -> None:
    """Replace the measured part of the page at `path`, and its picture, which the sweep names.

    The words around the marks stay; without marks the measured part is added at the end.
    """
    picture = f"pictures/{sweep}_sweep.svg"
    save(draw(panels(outcomes)), path.parent / picture)
    put(path, "measured", body(outcomes, judged, picture))


def summarise(judged: Sequence[Verdict], path: Path, sweep: str) -> None:
    """Put the sweep's claims and their verdicts into the page at `path`, between marks of its own.

    See `write` for what stays.
    """
    put(path, sweep, zone_claims.text(judged))


def body(outcomes: Sequence[Outcome], judged: Sequence[Verdict], picture: str) -> str:
    """What was measured, in Markdown: what ran, every method's means, curves, claims."""
    seeds = sorted({o.seed for o in outcomes})
    versions = ", ".join(sorted({o.code for o in outcomes}))
    machines = "; ".join(sorted({o.machine for o in outcomes}))
    steps = max(len(o.curve) for o in outcomes)
    return "\n".join(
        [
            wrapped(
                f"- {len(outcomes)} runs of {steps} rollout steps, of "
                f"{len({o.name for o in outcomes})} methods; seeds: {', '.join(map(str, seeds))}.",
                f"- Code: {versions}. Machine: {machines}.",
            ),
            wrapped(
                "Means over the seeds that are there, ± their standard deviation. `area` is the "
                "accuracy on hard kinds, the mean over all steps, percent. Tokens are thousands "
                "that a run generated, the teacher's by the runs whose file has them: a draw that "
                "an earlier run left in the cache counts too. A run that never reaches a half "
                "counts as one step more than it has.",
            ),
            methods_table(outcomes, SOON, costs=True),
            wrapped("Accuracy at the end, percent; of hard kinds but for the last column:"),
            methods_table(outcomes, FINAL),
            f"![Accuracy on hard kinds over steps and tokens]({picture})\n",
            wrapped(
                "Differences are of measures of one seed, with the 95 % interval of the "
                "hierarchical bootstrap, stretched for few seeds. `resolves` is the true "
                "difference that these seeds would find four times out of five, by the same test "
                "at the level of Holm's first step; – where so few seeds can find nothing."
            ),
            zone_claims.text(judged),
        ]
    )


def methods_table(
    outcomes: Sequence[Outcome], measures: Mapping[str, str], costs: bool = False
) -> str:
    """A row for each method: `measures` with their heads, and tokens with `costs`."""
    rows = []
    for name, runs in by_method(outcomes).items():
        tokens = min(float(r.student_tokens[-1]) for r in runs)
        cells = [spread([value(r, m, tokens, None) for r in runs]) for m in measures]
        if costs:
            cells += [thousands([r.student_tokens for r in runs])]
            cells += [thousands([r.teacher_tokens for r in runs])]
        rows.append([f"`{name}`", str(len(runs)), *cells])
    heads = ["method", "seeds", *measures.values(), *(["student k", "teacher k"] if costs else [])]
    return table(heads, rows, "markdown")


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation; the mean alone of a single value."""
    mean = number(float(np.mean(values)))
    return f"{mean} ± {number(float(np.std(values, ddof=1)))}" if len(values) > 1 else mean


def thousands(tokens: Sequence[np.ndarray]) -> str:
    """The mean of what was spent by the end, over the runs that say it."""
    ends = [float(spent[-1]) for spent in tokens if len(spent)]
    return number(float(np.mean(ends)) / 1000, 0) if ends else MISSING


def by_method(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Runs by method, the paper's first, then controls, then others; seeds in order."""
    order = list(dict.fromkeys(m for names in GROUPS.values() for m in names))
    listed = [m for m in order if any(o.method == m for o in outcomes)]
    others = sorted({o.method for o in outcomes} - set(order))
    return {
        m: sorted((o for o in outcomes if o.method == m), key=lambda o: o.seed)
        for m in [*listed, *others]
    }


def panels(outcomes: Sequence[Outcome]) -> list[Panel]:
    """Curves on hard kinds: the paper's methods, the controls, and over student tokens."""
    runs = by_method(outcomes)
    drawn = []
    for title, names in GROUPS.items():
        series = {m: curve(runs[m]) for m in names if m in runs}
        if set(series) - {"zppo"}:
            drawn.append(Panel(title, "rollout step", "hard kinds, %", "line", series))
    spent: Mapping[str, Points] = {m: by_tokens(runs[m]) for m in COST if m in runs}
    if spent:
        drawn.append(Panel("at equal tokens", "student tokens, k", "hard kinds, %", "line", spent))
    return drawn


def curve(runs: Sequence[Outcome]) -> Points:
    """(step from 1, percent): the mean over runs, smoothed over `SMOOTH` steps."""
    steps = min(len(r.curve) for r in runs)
    mean = 100 * np.mean([r.curve[:steps] for r in runs], axis=0)
    window = min(SMOOTH, steps)
    smooth = np.convolve(mean, np.ones(window) / window, "valid")
    return [i + (window + 1) / 2 for i in range(len(smooth))], smooth.tolist()


def by_tokens(runs: Sequence[Outcome]) -> Points:
    """(thousands of student tokens, percent) up to the fewest of the runs."""
    last = min(float(r.spent_before[-1]) for r in runs)
    at = np.linspace(0, last, 25)
    mean = np.mean([np.interp(at, r.spent_before, r.curve) for r in runs], axis=0)
    return (at / 1000).tolist(), (100 * mean).tolist()
