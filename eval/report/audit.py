"""Are candidates anonymous, and do they keep their answers? `zppo audit [--run KEY]`.

Three audits of one run: what reformulated rollouts answer (Tables 16 and 17), a probe that tries to
tell the right candidate from the wrong one by its surface alone, and what compression preserved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import duckdb
import numpy as np

from eval.render import number, table
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.rows import Compression, Lost, Match, records, typed
from eval.report.summary import find_run
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.streams import stream

FOLDS = 5
RESAMPLES = 2000
FEWEST = 40  # pairs below which a probe says nothing
_BOX = re.compile(r"\\boxed")
FEATURES = (
    "characters",
    "words",
    "distinct words",
    "lines",
    "digits",
    "punctuation",
    "capitals",
    "place of the box",
    "characters after the box",
    "ends with a full stop",
    "distance to the question",
)


@dataclass(frozen=True)
class Share:
    """A share [0, 1] of `n` with its 95 % interval, resampled over questions."""

    value: float
    low: float
    high: float
    n: int

    @property
    def chance(self) -> bool:
        """Whether one half lies within the interval."""
        return self.low <= 0.5 <= self.high

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Probe:
    """How well surface features tell the right candidate; `features` each by itself."""

    pairs: int
    questions: int
    right_first: Share
    accuracy: Share
    features: dict[str, Share]

    @property
    def leaks(self) -> list[str]:
        """The features that tell more than chance by themselves, the worst first.

        At 99.7 %, for there are eleven: an interval of 95 % would accuse one in two clean runs.
        """
        leaking = [f for f, s in self.features.items() if s.value - 0.5 > 1.5 * (s.value - s.low)]
        return sorted(leaking, key=lambda f: -self.features[f].value)

    @property
    def verdict(self) -> str:
        """In words."""
        if self.accuracy.low > 0.5:
            telling = f", most by {self.leaks[0]}" if self.leaks else ""
            return f"the surface tells the right candidate more often than chance{telling}"
        return "the surface does not tell the right candidate"


def features(text: str, question: str) -> list[float]:
    """What can be seen of a candidate without reading it, in the order of `FEATURES`."""
    from rapidfuzz.distance import Levenshtein

    words = text.split()
    box = next((m.start() for m in _BOX.finditer(text)), len(text))
    letters = sum(c.isalpha() for c in text)
    return [
        float(len(text)),
        float(len(words)),
        len(set(words)) / max(len(words), 1),
        float(text.count("\n") + 1),
        sum(c.isdigit() for c in text) / max(len(text), 1),
        sum(not c.isalnum() and not c.isspace() for c in text) / max(len(text), 1),
        sum(c.isupper() for c in text) / max(letters, 1),
        box / max(len(text), 1),
        float(len(text) - box),
        float(text.rstrip().endswith(".")),
        Levenshtein.normalized_distance(text, question),
    ]


def probe(pairs: Sequence[tuple[str, str, str, str, bool]], seed: int = 0) -> Probe:
    """Logistic regression on (question id, question, first, second, right is first) pairs.

    It sees the differences of the two candidates' features; all pairs of a question are in one
    fold, and every pair is judged by a model that never saw its question. UserError for too few.
    """
    questions = sorted({p[0] for p in pairs})
    if len(pairs) < FEWEST or len(questions) < 2 * FOLDS:
        raise UserError(
            f"{len(pairs)} BCQ prompts of {len(questions)} questions are too few to probe; "
            f"at least {FEWEST} of {2 * FOLDS}"
        )
    x = np.array(
        [np.subtract(features(a, q), features(b, q)) for _, q, a, b, _ in pairs], dtype=np.float64
    )
    y = np.array([right_first for *_, right_first in pairs])
    groups = np.array([questions.index(p[0]) for p in pairs])
    fold = stream(seed, "probe folds").permutation(len(questions))[groups] % FOLDS

    def judged(columns: Sequence[int]) -> Share:
        return share(_cross_validated(x[:, columns], y, fold) == y, groups, seed)

    every = range(len(FEATURES))
    return Probe(
        len(pairs),
        len(questions),
        share(y, groups, seed),
        judged(list(every)),
        {FEATURES[i]: judged([i]) for i in every},
    )


def _cross_validated(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.zeros(len(y), dtype=bool)
    for f in range(FOLDS):
        train, test = fold != f, fold == f
        # a swapped pair is as good as the pair itself: no side is preferred, so no intercept
        both = np.concatenate([x[train], -x[train]])
        right = np.concatenate([y[train], ~y[train]])
        model = make_pipeline(
            StandardScaler(with_mean=False), LogisticRegression(fit_intercept=False)
        )
        model.fit(both, right)
        predicted[test] = model.predict(x[test]) if test.any() else False
    return predicted


def share(hits: np.ndarray, groups: np.ndarray, seed: int = 0) -> Share:
    """The share of `hits` with a percentile interval, whole questions resampled."""
    n = int(groups.max()) + 1
    sums, counts = np.bincount(groups, hits, n), np.bincount(groups, minlength=n)
    drawn = stream(seed, "probe interval").integers(0, n, (RESAMPLES, n))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Share(float(hits.mean()), float(low), float(high), len(hits))


def bcq_pairs(
    connection: duckdb.DuckDBPyConnection, run: str
) -> list[tuple[str, str, str, str, bool]]:
    """The run's BCQ prompts as `probe` wants them; the question is what stands before them."""
    rows = connection.execute(
        "SELECT question_id, prompt_text, candidate_texts, right_first FROM groups "
        "WHERE run_key = ? AND kind = 'bcq' AND right_first IS NOT NULL ORDER BY step, uid",
        [run],
    ).fetchall()
    return [
        (question, prompt.split("\n")[0], texts[0], texts[1], right_first)
        for question, prompt, texts, right_first in rows
        if len(texts) == 2
    ]


# Both answers are parsed from text, the candidate's from what stands in the prompt and the source's
# from what was compressed, and compared up to white space, as compression itself may not do more.
# Rows of before schema 3 hold the candidate's own answer as the source's: nothing to compare.
COMPRESSED = """
SELECT *, source_characters IS NOT NULL AS audited,
    trim(regexp_replace(answer, '\\s+', ' ', 'g')) IS NOT DISTINCT FROM
        trim(regexp_replace(source_answer, '\\s+', ' ', 'g')) AS kept
FROM teacher_draws WHERE run_key = ? AND purpose = 'compress'
"""
COMPRESSION = f"""
SELECT count(*) AS candidates, avg((NOT fallback)::INT) AS summarised,
    count(*) FILTER (audited) AS audited, avg(kept::INT) FILTER (audited) AS kept_answer,
    avg(kept::INT) FILTER (audited AND source_answer IS NOT NULL) AS kept_boxed,
    count(*) FILTER (audited AND source_answer IS NOT NULL) AS boxed,
    sum(length(text)) FILTER (audited) / nullif(sum(source_characters), 0) AS length_share,
    avg((attempts > 1)::INT) AS retried, avg(length(text)) AS characters FROM ({COMPRESSED})
"""
LOST = f"""
SELECT step, question_id, draw, fallback, source_answer, answer FROM ({COMPRESSED})
WHERE audited AND NOT kept ORDER BY step, question_id, draw
"""
NAMED = 5  # candidates without their answer that the text shows


class ShareData(TypedDict):
    """A `Share` as JSON."""

    value: float
    low: float
    high: float
    n: int


class ProbeData(TypedDict):
    """A `Probe` as JSON."""

    pairs: int
    questions: int
    right_first: ShareData
    accuracy: ShareData
    features: dict[str, ShareData]
    leaks: list[str]
    verdict: str


class AuditData(TypedDict):
    """All three audits; `reason` says why there is no probe."""

    run_key: str
    match: list[Match]
    compression: Compression
    probe: ProbeData | None
    reason: str


def audit(database: str | Path = DEFAULT_DATABASE, run: str | None = None) -> AuditData:
    """All three audits of a run as JSON-ready data; `probe` is None with a reason if too few."""
    with open_database(database) as connection:
        key = find_run(connection, run)["run_key"]
        matched = records(
            connection,
            "SELECT * EXCLUDE (run_key) FROM candidate_audit WHERE run_key = ? "
            "ORDER BY kind, subset",
            [key],
        )
        pairs = bcq_pairs(connection, key)
        (compression,) = records(connection, COMPRESSION, [key])
        lost = records(connection, LOST, [key])
    data: AuditData = {
        "run_key": key,
        "match": typed(Match, matched),
        "compression": typed(Compression, [compression | {"lost": typed(Lost, lost)}])[0],
        "probe": None,
        "reason": "",
    }
    try:
        data["probe"] = _data_of(probe(pairs))
    except UserError as few:
        data["reason"] = str(few)
    return data


def _data_of(result: Probe) -> ProbeData:
    return {
        "pairs": result.pairs,
        "questions": result.questions,
        "right_first": _share_data(result.right_first),
        "accuracy": _share_data(result.accuracy),
        "features": {name: _share_data(s) for name, s in result.features.items()},
        "leaks": result.leaks,
        "verdict": result.verdict,
    }


def _share_data(s: Share) -> ShareData:
    return {"value": s.value, "low": s.low, "high": s.high, "n": s.n}


def audit_text(data: AuditData) -> str:
    """The audits as text."""
    parts = [f"Run {data['run_key']}\n"]
    if data["match"]:
        rows = [
            [
                f"{r['kind']} {r['subset']}",
                f"{r['n']:,}",
                number(r["match_pos"]),
                number(r["match_neg"]),
                number(r["other"]),
                number(r["accuracy"]),
            ]
            for r in data["match"]
        ]
        columns = ["rollouts", "n", "right candidate", "wrong candidate", "neither", "accuracy"]
        parts.append("What reformulated rollouts answer, percent\n" + table(columns, rows))
    p = data["probe"]
    if p is None:
        parts.append(f"No probe: {data['reason']}\n")
    else:
        rows = [["order alone", _share(p["right_first"])], ["all features", _share(p["accuracy"])]]
        ranked = sorted(p["features"].items(), key=lambda f: -f[1]["value"])
        rows += [[name, _share(s)] for name, s in ranked]
        parts.append(
            f"Telling the right of two candidates by its surface: {p['pairs']} BCQ prompts of "
            f"{p['questions']} questions, 50 % is chance\n"
            + table(["probe", "accuracy [95 %]"], rows)
            + f"{p['verdict']}\n"
        )
    parts += _compression(data["compression"])
    return "\n".join(parts)


def _compression(c: Compression) -> list[str]:
    if not c["candidates"]:
        return []
    text = (
        f"Compression: {c['candidates']:,} candidates, {100 * c['summarised']:.1f} % are the "
        f"teacher's summary (the rest the extract), {100 * c['retried']:.1f} % took more than one "
        "attempt\n"
    )
    if c["audited"] < c["candidates"]:
        text += (
            f"The source's answer of {c['candidates'] - c['audited']:,} was not recorded (journals "
            "of before schema 3)\n"
        )
    if not c["audited"]:
        return [text]
    text += (
        f"{100 * c['kept_answer']:.2f} % of {c['audited']:,} say what their source says; "
        f"{c['boxed']:,} sources have a boxed answer, and {number(_percent(c['kept_boxed']), 2)} % "
        f"of these kept it; {100 * c['length_share']:.0f} % of the characters are left\n"
    )
    for r in c["lost"][:NAMED]:
        text += f"  step {r['step']}, {r['question_id']}: {r['source_answer']!r} became "
        text += f"{r['answer']!r}{' (extract)' if r['fallback'] else ''}\n"
    if len(c["lost"]) > NAMED:
        text += f"  and {len(c['lost']) - NAMED:,} more (--json)\n"
    return [text]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _share(s: ShareData) -> str:
    return str(Share(**s))


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 2 with a line for each fault."""
    parser = command("audit", __doc__ or "", "zppo audit --json")
    parser.add_argument("--run", help="run key or its beginning; default: the latest run")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    options = parser.parse_args(arguments)
    data = audit(options.database, options.run)
    print(json.dumps(data, indent=2) if options.json else audit_text(data))
    return 0
