"""The card of an `evaluate` task: the scores, and what each model answered to the same question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from eval.archives import UnreadableError
from eval.benchmark import Benchmark, Sample
from eval.harness import SampleRow, ScoreRow
from eval.report.published import published
from eval.scores import Answers
from steps.cards.blocks import (
    facts,
    head,
    heading,
    image_tags,
    preformatted,
    table,
    tag,
)
from steps.cards.chart import Interval, intervals
from zppo_core.data.pixels import Bounds

EXAMPLES = 12
MOST_CHARACTERS = 4000  # of an answer
MOST_PICTURES = 6  # of a question
SMALL = Bounds(0, 100_000)  # pixels of a picture on a page
ORDER = ("base", "student", "teacher")


def examples_each(benchmarks: int) -> int:
    """How many questions a card of so many benchmarks shows of each: it stays small."""
    return max(2, EXAMPLES // benchmarks)


def overview(rows: Sequence[ScoreRow]) -> list[str]:
    """Every score of a task with several benchmarks in one chart."""
    names = dict.fromkeys(row["benchmark"] for row in rows)
    chart = intervals(
        "Accuracy with 95 % interval",
        [
            Interval(r["benchmark"], r["role"], r["score"], r["low"], r["high"])
            for r in rows
            if r["score"] is not None
        ],
    )
    return [
        head(f"{len(names)} benchmarks", "one below the other"),
        f'<div class="charts">{chart}</div>',
    ]


def view(
    benchmark: Benchmark,
    rows: Sequence[ScoreRow],
    answers: Answers,
    samples: Iterable[Sample],
    part: str = "",
    scale: str = "",
    method: str = "",
    examples: int = EXAMPLES,
) -> list[str]:
    """Scores with intervals, the published ones beside them; then answers side by side."""
    parts = [
        head(f"{benchmark.name}{part}", f"{benchmark.family}, {benchmark.dataset}"),
        '<div class="charts">'
        + intervals(
            "Accuracy with 95 % interval",
            [
                Interval("", r["role"], r["score"], r["low"], r["high"])
                for r in rows
                if r["score"] is not None
            ],
        )
        + "</div>",
        scores(benchmark, rows, scale, method),
    ]
    missing = {r["role"]: r["missing_reason"] for r in rows if r["missing_reason"]}
    if missing:
        parts.append(heading("Not complete") + facts({k: v or "" for k, v in missing.items()}))
    picked = chosen(answers, examples)
    if picked:
        questions = samples_named(samples, {sample_id for sample_id, _ in picked})
        parts.append(heading("What the models answered", "Questions they disagree on come first."))
        parts += [
            one_question(sample_id, replies, questions.get(sample_id), open_it=i == 0)
            for i, (sample_id, replies) in enumerate(picked)
        ]
    return parts


def scores(benchmark: Benchmark, rows: Sequence[ScoreRow], scale: str, method: str) -> str:
    """A line for each model."""
    names = {"student": method}

    def printed(role: str) -> str:
        key = (scale, benchmark.family, names.get(role, role), benchmark.name)
        return published().get(key, "–")

    return table(
        ["model", "score", "95 % interval", "samples", "no answer", "bad verdicts", "published"],
        [
            [
                r["role"],
                percent(r["score"]),
                f"{percent(r['low'])} to {percent(r['high'])}",
                f"{r['n']:,} of {r['expected_n']:,}",
                f"{r['unparsed']:,}",
                "no judge" if r["malformed"] is None else f"{r['malformed']:,}",
                printed(r["role"]),
            ]
            for r in rows
        ],
    )


def percent(share: float | None) -> str:
    """A fraction in percent with a digit behind the point, as the tables print it."""
    return "none" if share is None else f"{100 * share:.1f} %"


def chosen(answers: Answers, most: int = EXAMPLES) -> list[tuple[str, dict[str, SampleRow]]]:
    """Some questions with every model's answer: those on which models disagree first."""
    by_id: dict[str, dict[str, SampleRow]] = {}
    for role in sorted(answers, key=lambda r: (ORDER.index(r) if r in ORDER else -1, r)):
        for row in answers[role]:
            by_id.setdefault(row["sample_id"], {})[role] = row
    agreed = [
        (len({row["score"] for row in replies.values()}) == 1, i, sample_id)
        for i, (sample_id, replies) in enumerate(by_id.items())
    ]
    return [(sample_id, by_id[sample_id]) for _, _, sample_id in sorted(agreed)[:most]]


def samples_named(samples: Iterable[Sample], names: set[str]) -> dict[str, Sample]:
    """The samples of these names, read no further than the last of them."""
    there: dict[str, Sample] = {}
    for sample in samples:
        if sample.id in names:
            there[sample.id] = sample
            if len(there) == len(names):
                break
    return there


def one_question(
    sample_id: str, replies: Mapping[str, SampleRow], sample: Sample | None, open_it: bool = False
) -> str:
    """A question with its picture and gold, and the models' answers side by side."""
    verdicts = "".join(
        f"<span>{escape(role)} {tag('✓' if row['score'] > 0 else '✗', row['score'] > 0)}</span>"
        for role, row in replies.items()
    )
    lead = sample.text if sample is not None else sample_id
    columns = "".join(
        f'<div><div class="facts"><b>{escape(role)}</b>{tag(row["outcome"], row["score"] > 0)}'
        f"<span>answer</span><code>{escape(row['answer'] or 'none')}</code></div>"
        f"{preformatted(short(row['output']))}</div>"
        for role, row in replies.items()
    )
    asked = ""
    if sample is not None:
        asked = (
            f"{pictures(sample)}<h3>Question</h3>{preformatted(short(sample.text))}"
            f'<div class="facts"><b>Gold answer</b><code>{escape(sample.gold)}</code></div>'
        )
    return (
        f'<details class="sample"{" open" if open_it else ""}><summary>{verdicts}'
        f'<span class="lead">{escape(lead[:160])}</span></summary>'
        f'<div class="inside">{asked}<h3>Answers</h3><div class="pair">{columns}</div></div>'
        "</details>"
    )


def pictures(sample: Sample) -> str:
    """A sample's first pictures, small; why there is none where they cannot be read."""
    try:
        return image_tags([SMALL.scaled(i, small=True) for i in sample.images()[:MOST_PICTURES]])
    except (UnreadableError, OSError, ValueError) as fault:
        return f'<p class="dim">no picture: {escape(str(fault))}</p>'


def short(text: str) -> str:
    """A text of at most `MOST_CHARACTERS`, its middle left out."""
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    left_out = len(text) - MOST_CHARACTERS
    return f"{text[:half]} … {left_out:,} characters more … {text[-half:]}"
