"""The sweep in the world `zone` against its claims: `zppo zone --results benchmarks/results/zone`.

Claims, measures and the test were fixed in `zppo_core/config/sweeps/zone.toml` before any run. A
claim is tested over seeds by flipping the signs of the paired sums in all ways, two-sided, and
over all claims by Holm's correction. Its interval is a hierarchical bootstrap: seeds, and for final
accuracies the test questions too, the same ones for every run.
"""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from eval.render import MISSING, signed, table
from zppo_core.data.digit_kinds import ZONE_HARD
from zppo_core.data.digits import ZONE_BENCHMARKS
from zppo_core.errors import UserError, suggestion
from zppo_core.streams import stream

LEVEL, POWER = 0.05, 0.8
RESAMPLES = 2000
FINAL: dict[str, tuple[str, tuple[str, ...]]] = {  # measure -> hard or easy kinds, of benchmarks
    "hard_VLM": ("hard", ("zone_rows", "zone_grids")),
    "hard_LLM": ("hard", ("zone_text",)),
    "hard_Video": ("hard", ("zone_frames", "zone_frame_pairs")),
    "new_hard": ("hard", ("zone_text_new",)),
    "easy": ("easy", tuple(ZONE_BENCHMARKS)),
}
POINTS = ("area", "area_by_tokens", *FINAL)  # measures in points; the others are counts


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a result file holds of one run; `right` has (questions,) booleans a benchmark.

    `teacher_tokens` is empty where the file was written before draws found in the cache counted.
    """

    scale: str
    method: str
    seed: int
    curve: np.ndarray
    student_tokens: np.ndarray
    steps_to_half: int
    graduated: int
    right: Mapping[str, np.ndarray]
    teacher_tokens: np.ndarray
    code: str
    machine: str

    @property
    def name(self) -> str:
        return f"{self.scale}/{self.method}"

    @property
    def spent_before(self) -> np.ndarray:
        """The student's tokens that the weights of each point of the curve have learnt from."""
        return np.array([0, *self.student_tokens[:-1]])


@dataclass(frozen=True)
class Claim:
    """A weighted sum of a measure over runs of one seed that is claimed to be above zero."""

    text: str
    measure: str
    terms: Mapping[str, int]


@dataclass(frozen=True)
class Verdict:
    """A claim as measured: mean with 95 % interval, p and Holm's p, and what it could resolve.

    `detectable` is the true difference that the test finds four times out of five at the level of
    Holm's first step; infinite if these seeds are too few for any.
    """

    claim: Claim
    seeds: int
    mean: float
    low: float
    high: float
    p: float
    adjusted: float
    detectable: float

    @property
    def word(self) -> str:
        if self.adjusted > LEVEL:
            return "undecided"
        return "holds" if self.mean > 0 else "does not hold"


def claims(preset: str = "zone") -> list[Claim]:
    """The claims of a sweep preset, one for each measure it names; UserError if it has none."""
    entries = _preset(preset)["claims"]
    return [Claim(e["text"], m, e["terms"]) for e in entries for m in e["measures"]]


def shown(preset: str = "zone") -> set[str]:
    """The "scale/method" that a sweep preset's page shows; UserError if it has no claims.

    Its own, and at its scales those of other sweeps that its claims name.
    """
    sweep = _preset(preset)
    named = {term for claim in sweep["claims"] for term in claim["terms"]}
    return {f"{s}/{m}" for s in sweep["scales"] for m in sweep["methods"]} | {
        term for term in named if term.partition("/")[0] in sweep["scales"]
    }


def _preset(preset: str) -> dict[str, Any]:
    folder = resources.files("zppo_core.config") / "sweeps"
    file = folder / f"{preset}.toml"
    if not file.is_file() or "[[claims]]" not in file.read_text(encoding="utf-8"):
        names = [f.name.removesuffix(".toml") for f in folder.iterdir() if "zone" in f.name]
        raise UserError(f"no claims of a sweep {preset!r}; {suggestion(preset, names)}")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def read(folder: Path) -> list[Outcome]:
    """The runs of a folder of result files; UserError if there are none or one is damaged."""
    outcomes = []
    for path in sorted(folder.glob("*.json")):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            settings = json.loads(kept["settings"])
            right = {
                name: np.array([*f"{int(bits, 16):0{kept['asked'][name]}b}"]) == "1"
                for name, bits in kept["right"].items()
            }
            steps = len(kept["curve"])
            outcome = Outcome(
                settings["scale"],
                kept["method"],
                kept["seed"],
                np.array(kept["curve"]),
                np.array(kept["student_tokens"]),
                kept["steps_to_half"] or steps + 1,
                kept["graduated_at_zero"],
                right,
                np.array(kept["teacher_tokens"]),
                kept["code_version"],
                kept["machine"],
            )
        except (ValueError, KeyError, TypeError) as fault:
            raise UserError(f"{path} is damaged ({fault!r}); delete it and run the sweep") from None
        outcomes.append(outcome)
    if not outcomes:
        raise UserError(f"{folder} holds no results; make zone-sweep")
    return outcomes


def value(run: Outcome, measure: str, tokens: float, rng: np.random.Generator | None) -> float:
    """A measure of one run [points or counts]; with `rng` over resampled test questions.

    `tokens` is where the area by tokens ends.
    """
    if measure == "area":
        return 100 * float(run.curve.mean())
    if measure == "area_by_tokens":
        at = np.linspace(0, tokens, 200)
        return 100 * float(np.interp(at, run.spent_before, run.curve).mean())
    if measure == "steps_to_half":
        return float(run.steps_to_half)
    if measure == "graduated":
        return run.graduated / len(run.curve)
    if measure == "graduated_by_tokens":
        return 1e6 * run.graduated / float(run.student_tokens[-1])
    difficulty, names = FINAL[measure]
    scores = []
    for name in names:
        kinds = ZONE_BENCHMARKS[name].kinds
        right = run.right[name]
        places = np.array(
            [
                i
                for i in range(len(right))
                if (kinds[i % len(kinds)] in ZONE_HARD) == (difficulty == "hard")
            ]
        )
        drawn = places if rng is None else rng.choice(places, len(places))
        scores.append(float(right[drawn].mean()))
    return 100 * sum(scores) / len(scores)


def sums(
    claim: Claim, runs: Mapping[tuple[str, int], Outcome], resample: int | None = None
) -> dict[int, float]:
    """The claim's weighted sum by seed, over the seeds that all its runs have.

    With `resample` the test questions are drawn anew, the same ones for every run.
    """
    by_seed = [{s for name, s in runs if name == term} for term in claim.terms]
    differences = {}
    for seed in sorted(set.intersection(*by_seed)):
        chosen = {term: runs[term, seed] for term in claim.terms}
        tokens = min(float(run.student_tokens[-1]) for run in chosen.values())
        differences[seed] = sum(
            weight
            * value(
                chosen[term],
                claim.measure,
                tokens,
                None if resample is None else stream(0, "test questions", resample),
            )
            for term, weight in claim.terms.items()
        )
    return differences


def sign_flips(differences: Sequence[float]) -> float:
    """Exact two-sided p of a mean of zero: the share of sign patterns whose mean is as far off."""
    values = np.array(differences)
    patterns = np.array(list(itertools.product((1, -1), repeat=len(values))))
    means = np.abs(patterns @ values)
    return float((means >= abs(values.sum()) - 1e-9).mean())


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p, in the order given: below 5 % the family of claims errs at most at 5 %."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = worst
    return adjusted


def interval(
    claim: Claim, runs: Mapping[tuple[str, int], Outcome], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % of the hierarchical bootstrap's means: seeds, and questions where they are final.

    Means of n drawn seeds are closer together than means of n new ones, and few seeds say little of
    their spread. So distances from the mean are stretched: by n over n - 1, and from the normal
    quantile to Student's.
    """
    from scipy import stats

    rng = stream(0, "claims", claim.text, claim.measure)
    final = claim.measure in FINAL
    draws = 100 if final else 1  # sets of test questions; seeds are drawn anew for each mean
    sets = [list(sums(claim, runs, i if final else None).values()) for i in range(draws)]
    means = []
    for i in range(resamples):
        values = np.array(sets[i % draws])
        means.append(float(rng.choice(values, len(values)).mean()))
    n = len(sets[0])
    stretch = math.sqrt(n / (n - 1)) * float(stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975))
    centre = float(np.mean(list(sums(claim, runs).values())))
    low, high = centre + stretch * (np.quantile(means, [0.025, 0.975]) - centre)
    return float(low), float(high)


@cache
def resolvable(seeds: int, level: float) -> float:
    """The true mean, in standard deviations, that `sign_flips` puts under `level` in 80 % of draws.

    By 2,000 draws from the normal distribution; infinite if no draw can come under `level`.
    """
    if 2 / 2**seeds > level:
        return math.inf
    patterns = np.array(list(itertools.product((1, -1), repeat=seeds - 1)))
    noise = stream(0, "resolvable", seeds).normal(size=(2000, seeds))

    def power(mean: float) -> float:
        values = noise + mean
        flipped = np.abs(values[:, :1] + values[:, 1:] @ patterns.T)
        limit = np.abs(values.sum(1))[:, None] - 1e-9
        return float(((flipped >= limit).mean(1) <= level).mean())

    low, high = 0.0, 1.0
    while power(high) < POWER:
        high *= 2
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def verdicts(
    asked: Sequence[Claim], outcomes: Sequence[Outcome], resamples: int = RESAMPLES
) -> list[Verdict]:
    """Every claim that two seeds or more have all runs of, with Holm's correction over `asked`.

    Claims without runs count in the correction with p = 1.
    """
    runs = {(o.name, o.seed): o for o in outcomes}
    measured = [list(sums(claim, runs).values()) for claim in asked]
    ps = [sign_flips(m) if len(m) > 1 else 1.0 for m in measured]
    judged = []
    for claim, values, p, adjusted in zip(asked, measured, ps, holm(ps), strict=True):
        if len(values) < 2:
            continue
        low, high = interval(claim, runs, resamples)
        spread, least = float(np.std(values, ddof=1)), resolvable(len(values), LEVEL / len(asked))
        detectable = math.inf if math.isinf(least) else spread * least
        mean = float(np.mean(values))
        judged.append(Verdict(claim, len(values), mean, low, high, p, adjusted, detectable))
    return judged


def difference(verdict: Verdict) -> str:
    """The mean of a claim's sums with its 95 % interval."""
    return f"{signed(verdict.mean)} [{signed(verdict.low)}, {signed(verdict.high)}]"


def text(judged: Sequence[Verdict]) -> str:
    """The claims as a list and, by their numbers, a table; a line where none can be judged yet."""
    if not judged:
        return "No claim has two seeds of all its runs yet.\n"
    numbers = {t: i for i, t in enumerate(dict.fromkeys(v.claim.text for v in judged), start=1)}
    rows = [
        [
            str(numbers[v.claim.text]),
            v.claim.measure,
            str(v.seeds),
            difference(v),
            f"{v.adjusted:.3f}",
            MISSING if math.isinf(v.detectable) else f"{v.detectable:.1f}",
            v.word,
        ]
        for v in judged
    ]
    columns = ["claim", "measure", "seeds", "difference [95 %]", "p (Holm)", "resolves", "verdict"]
    listed = [f"{i}. {text}." for text, i in numbers.items()]
    return "\n".join([*listed, "", table(columns, rows, "markdown", left=2)])
