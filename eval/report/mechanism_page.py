"""What `zppo mechanism` finds, as files, tables and curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from eval.render import number, signed, table
from eval.report.plot import Panel, Points
from zppo_core.data.digit_kinds import ZONE_ASIDE, ZONE_EASY, ZONE_HARD
from zppo_core.errors import UserError

ASKED = ("plain", "bcq", "ncq", "placebo")
CATEGORIES = {"hard": tuple(k for k in ZONE_HARD if k not in ZONE_ASIDE), "easy": tuple(ZONE_EASY)}
PLACES = ("same_question", "same_category", "other_categories")


@dataclass(frozen=True)
class Share:
    """Groups of one kind with something to teach at a step, and the norm of their gradient's sum.

    The loss is the token mean over all of the step's such groups, so the norms compare.
    """

    step: int
    kind: str
    groups: int
    norm: float


@dataclass(frozen=True)
class Transfer:
    """Cosines of a reformulated group's gradient with plain prompts before their right responses.

    Plain prompts of the group's own question; the mean over other questions of the step and the
    same category; and over those of other categories. None where there is none.
    """

    step: int
    kind: str
    category: str
    same_question: float
    same_category: float | None
    other_categories: float | None


@dataclass(frozen=True)
class Chance:
    """Mean probability of the right procedure on one kind of question and one sort of prompt."""

    step: int
    category: str
    asked: str
    probability: float


@dataclass
class Findings:
    """What was measured of a run, in order; `same`: the weights at the end are the run's own."""

    run: str
    method: str
    seed: int
    shares: list[Share] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    chances: list[Chance] = field(default_factory=list)
    same: bool | None = None


def read(path: Path) -> Findings:
    """What `zppo mechanism --out` wrote; UserError if it is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Findings(
            kept["run"],
            kept["method"],
            kept["seed"],
            [Share(**row) for row in kept["shares"]],
            [Transfer(**row) for row in kept["transfers"]],
            [Chance(**row) for row in kept["chances"]],
            kept["same"],
        )
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(f"{path} cannot be read ({fault!r}); write it by zppo mechanism") from None


def text(findings: Findings, bins: int = 5) -> str:
    """Three tables, Markdown, over `bins` parts of the run."""
    last = max(s.step for s in findings.shares) + 1 if findings.shares else 1
    edges = [round(last * i / bins) for i in range(bins + 1)]
    parts = list(pairwise(edges))
    names = [f"{a + 1}–{b}" for a, b in parts]
    blocks = [_shares(findings, parts, names), _transfers(findings, parts, names)]
    if findings.chances:
        blocks.append(_probabilities(findings))
    verdict = {True: "the run's own", False: "NOT the run's own", None: "not compared"}[
        findings.same
    ]
    return "\n\n".join([*blocks, f"Weights after the last step: {verdict}."])


def _shares(findings: Findings, parts: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    rows = []
    for kind in dict.fromkeys(s.kind for s in findings.shares):
        cells = []
        for a, b in parts:
            inside = [s for s in findings.shares if a <= s.step < b]
            whole = sum(s.norm for s in inside)
            of_kind = sum(s.norm for s in inside if s.kind == kind)
            cells.append(number(100 * of_kind / whole if whole else None))
        rows.append([f"`{kind}`", *cells])
    return "Share of the sum of norms, %\n\n" + table(["kind", *names], rows, "markdown", left=1)


def _transfers(findings: Findings, parts: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    rows = []
    for kind in dict.fromkeys(t.kind for t in findings.transfers):
        for which in PLACES:
            cells = []
            for a, b in parts:
                inside = [t for t in findings.transfers if t.kind == kind and a <= t.step < b]
                values = [v for t in inside if (v := getattr(t, which)) is not None]
                cells.append(signed(float(np.mean(values)), 2) if values else "–")
            rows.append([f"`{kind}`", which.replace("_", " "), *cells])
    columns = ["kind", "plain prompt of", *names]
    return "Cosine with the plain direction\n\n" + table(columns, rows, "markdown", left=2)


def _probabilities(findings: Findings) -> str:
    seen = sorted({c.step for c in findings.chances})
    chosen = sorted({seen[round(i * (len(seen) - 1) / 5)] for i in range(6)})
    rows = []
    for name, categories in CATEGORIES.items():
        for asked in ASKED:
            cells = []
            for step in chosen:
                values = [
                    c.probability
                    for c in findings.chances
                    if c.step == step and c.asked == asked and c.category in categories
                ]
                cells.append(f"{np.mean(values):.1e}")
            rows.append([name, asked, *cells])
    columns = ["questions", "prompt", *(f"after {s}" for s in chosen)]
    return "Probability of the right procedure\n\n" + table(columns, rows, "markdown", left=2)


def panels(findings: Findings) -> list[Panel]:
    """Cosines with plain prompts, parts of the norm, and probabilities on hard kinds, by step."""
    steps = sorted({t.step for t in findings.transfers})
    cosines: dict[str, Points] = {}
    for which in PLACES:
        pairs = [
            (
                step + 1,
                [
                    v
                    for t in findings.transfers
                    if t.step == step and (v := getattr(t, which)) is not None
                ],
            )
            for step in steps
        ]
        points = [(x, float(np.mean(values))) for x, values in pairs if values]
        cosines[which.replace("_", " ")] = ([x for x, _ in points], [y for _, y in points])
    norms: dict[str, Points] = {}
    for kind in dict.fromkeys(s.kind for s in findings.shares):
        rows = [s for s in findings.shares if s.kind == kind]
        norms[kind] = ([s.step + 1 for s in rows], [s.norm for s in rows])
    chances: dict[str, Points] = {}
    for asked in ASKED if findings.chances else ():
        rows_by_step = {
            step: [
                c.probability
                for c in findings.chances
                if c.step == step and c.asked == asked and c.category in CATEGORIES["hard"]
            ]
            for step in sorted({c.step for c in findings.chances})
        }
        chances[asked] = (
            list(rows_by_step),
            [float(np.mean(values)) for values in rows_by_step.values()],
        )
    return [
        Panel("whose plain prompts gain", "rollout step", "cosine", "line", cosines),
        Panel("gradient by kind of group", "rollout step", "norm", "line", norms),
        Panel("right procedure, hard kinds", "rollout steps done", "probability", "line", chances),
    ]
