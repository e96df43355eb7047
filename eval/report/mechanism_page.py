"""What `zppo mechanism` found: tables and curves by method, each the mean over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from eval.rates import Asked
from eval.render import MISSING, table, wrapped
from eval.report.mechanism_files import Findings
from eval.report.plot import Panel, Points
from zppo_core.data.digit_kinds import ZONE_ASIDE, ZONE_EASY, ZONE_HARD
from zppo_core.errors import UserError

ASKED: tuple[Asked, ...] = ("plain", "bcq", "ncq", "placebo", "lorem")
CATEGORIES = {"hard": tuple(k for k in ZONE_HARD if k not in ZONE_ASIDE), "easy": tuple(ZONE_EASY)}
PLACES = {"same_question": "question", "same_category": "category", "other_categories": "others"}
PLAIN = ("plain", "replay")
ENOUGH = 3  # seeds from which an interval is given


@dataclass(frozen=True)
class Pooled:
    """The runs of one method, a seed each, and how many steps they have."""

    method: str
    runs: tuple[Findings, ...]
    steps: int

    def kinds(self) -> list[str]:
        """Kinds of groups that had something to teach in any of the runs, as they came."""
        return list(dict.fromkeys(s.kind for run in self.runs for s in run.shares))


def by_method(findings: Sequence[Findings]) -> list[Pooled]:
    """The findings by method, seeds in order. UserError if a seed is there twice."""
    pools: dict[str, list[Findings]] = {}
    for one in findings:
        pools.setdefault(one.method, []).append(one)
    for method, runs in pools.items():
        if len({r.seed for r in runs}) < len(runs):
            raise UserError(f"two files are of one seed of {method}; give each seed once")
    return [
        Pooled(method, tuple(sorted(runs, key=lambda r: r.seed)), max(map(_steps, runs)))
        for method, runs in pools.items()
    ]


def _steps(run: Findings) -> int:
    rows = [s.step + 1 for s in run.shares] + [c.step for c in run.chances]
    return max(rows, default=1)


def over_seeds(values: Iterable[float | None], say: Callable[[float], str]) -> str:
    """Mean over seeds ± half of its 95 % interval by Student's t.

    Seeds with nothing are left out and their number is told: `(5)` is of five.
    """
    every = list(values)
    there = [v for v in every if v is not None]
    if not there:
        return MISSING
    cell = say(float(np.mean(there)))
    if len(there) >= ENOUGH:
        from scipy import stats  # half a second

        error = float(np.std(there, ddof=1)) / len(there) ** 0.5
        half = float(stats.t.ppf(0.975, len(there) - 1)) * error
        cell += f" ± {say(half).lstrip('+')}"
    return cell + (f" ({len(there)})" if len(there) < len(every) else "")


def text(pools: Sequence[Pooled], bins: int = 5) -> str:
    """Three tables, Markdown: cosines and parts of the norm over `bins` parts, probabilities."""
    last = max(p.steps for p in pools)
    parts = list(pairwise(round(last * i / bins) for i in range(bins + 1)))
    names = [f"{a + 1}–{b}" for a, b in parts]
    seeds = "; ".join(f"`{p.method}`: {len(p.runs)}" for p in pools)
    return "\n".join(
        [
            wrapped(
                f"Seeds of each method: {seeds}. A cell is the mean over seeds ± half of its 95 % "
                "interval; in brackets how many seeds have anything, where not all do."
            ),
            wrapped(
                "Cosine with the plain direction, over rollout steps: of the group's question, of "
                "others of its category, of other categories."
            ),
            table(["groups", "plain of", *names], _cosines(pools, parts), "markdown", 2),
            "Share of the sum of norms, percent:\n",
            table(["groups", *names], _norms(pools, parts), "markdown", 1),
            *_probabilities(pools),
            _same(pools),
        ]
    )


def _same(pools: Sequence[Pooled]) -> str:
    """Whether the weights came out as those of each run."""
    runs = [run for pool in pools for run in pool.runs]
    equal = sum(run.same is True for run in runs)
    line = f"Weights after the last step: the run's own in {equal} of {len(runs)}."
    others = [run.run for run in runs if run.same is False]
    return wrapped(line + f" NOT the run's own: {', '.join(others)}." * bool(others))


Parts = Sequence[tuple[int, int]]


def _cosines(pools: Sequence[Pooled], parts: Parts) -> list[list[str]]:
    rows = []
    for pool in pools:
        for kind in pool.kinds():
            if kind in PLAIN:
                continue
            for place, name in PLACES.items():
                cells = [
                    over_seeds([_cosine(r, kind, place, a, b) for r in pool.runs], "{:+.2f}".format)
                    for a, b in parts
                ]
                if set(cells) != {MISSING}:
                    rows.append([f"`{pool.method}` {kind}", name, *cells])
    return rows


def _cosine(run: Findings, kind: str, place: str, first: int, end: int) -> float | None:
    inside = [t for t in run.transfers if t.kind == kind and first <= t.step < end]
    return _mean([v for t in inside if (v := getattr(t, place)) is not None])


def _norms(pools: Sequence[Pooled], parts: Parts) -> list[list[str]]:
    return [
        [
            f"`{pool.method}` {kind}",
            *(
                over_seeds([_norm(r, kind, a, b) for r in pool.runs], "{:.1f}".format)
                for a, b in parts
            ),
        ]
        for pool in pools
        for kind in pool.kinds()
    ]


def _norm(run: Findings, kind: str, first: int, end: int) -> float | None:
    """Percent of the sum over kinds; 0 where other kinds alone had anything to teach."""
    inside = [s for s in run.shares if first <= s.step < end]
    whole = sum(s.norm for s in inside)
    return 100 * sum(s.norm for s in inside if s.kind == kind) / whole if whole else None


def _probabilities(pools: Sequence[Pooled]) -> list[str]:
    seen = sorted({c.step for p in pools for r in p.runs for c in r.chances})
    if not seen:
        return []
    chosen = sorted({seen[round(i * (len(seen) - 1) / 5)] for i in range(6)})
    rows = []
    for pool in pools:
        for name, categories in CATEGORIES.items():
            for asked in ASKED:
                values = [[_chance(r, s, categories, asked) for r in pool.runs] for s in chosen]
                if any(v is not None for of_step in values for v in of_step):
                    cells = [over_seeds(of_step, _small) for of_step in values]
                    rows.append([f"`{pool.method}`", name, asked, *cells])
    columns = ["method", "questions", "prompt", *(str(s) for s in chosen)]
    return [
        "Probability of the right procedure, after steps:\n",
        table(columns, rows, "markdown", 3),
    ]


def _chance(run: Findings, step: int, categories: Sequence[str], asked: str) -> float | None:
    return _mean(
        [
            c.probability
            for c in run.chances
            if (c.step, c.asked) == (step, asked) and c.category in categories
        ]
    )


def _small(value: float) -> str:
    tiny = 1e-12 < value < 0.005  # below it is rounding of the mean
    return f"{value:.0e}" if tiny else f"{value:.2f}"


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def panels(pools: Sequence[Pooled]) -> list[Panel]:
    """By step, means over seeds: cosines and parts of the norm by kind, plain probabilities."""
    kinds = {
        f"{p.method} {kind}": (p, kind) for p in pools for kind in p.kinds() if kind not in PLAIN
    }
    cosines = {name: _line(p, partial(_gain, kind=kind)) for name, (p, kind) in kinds.items()}
    norms = {name: _line(p, partial(_part, kind=kind)) for name, (p, kind) in kinds.items()}
    hard = {p.method: _line(p, _hard) for p in pools}
    step = "rollout step"
    return [
        Panel("whose plain prompts gain: the same question's", step, "cosine", "line", cosines),
        Panel("gradient of reformulated groups", step, "% of the norms' sum", "line", norms),
        Panel("right procedure, plain, hard kinds", "steps done", "probability", "line", hard),
    ]


def _gain(run: Findings, step: int, kind: str) -> float | None:
    return _cosine(run, kind, "same_question", step, step + 1)


def _part(run: Findings, step: int, kind: str) -> float | None:
    return _norm(run, kind, step, step + 1)


def _hard(run: Findings, step: int) -> float | None:
    return _chance(run, step, CATEGORIES["hard"], "plain")


def _line(pool: Pooled, value: Callable[[Findings, int], float | None]) -> Points:
    """The mean over seeds of a value at each step where any has it."""
    points = []
    for step in range(pool.steps + 1):
        mean = _mean([v for run in pool.runs if (v := value(run, step)) is not None])
        if mean is not None:
            points.append((step, mean))
    return [x for x, _ in points], [y for _, y in points]
