"""Tables 1-4 and 9-21 of the paper from the result database, the published value beside ours.

A table is data: which methods and families it shows, and where its cells come from. A cell of ours
that is missing stays missing; a published value never takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from eval.render import Block, Cell, number, render, scientific, signed
from eval.report.bootstrap import BEST, OURS, comparisons
from eval.report.published import (
    AVERAGE,
    PAPER_SCALES,
    REFERENCE,
    gains_over_base,
    published,
    reference,
    scale_order,
)
from eval.report.rows import Audited, Costs, typed
from eval.report.selection import Results
from eval.report.summary import FAMILIES
from zppo_core.errors import UserError

__all__ = ["PAPER_SCALES", "REFERENCE", "TABLES", "Results", "blocks", "published", "render"]
DELTAS_PRINTED = (1, 2, 10, 11)  # whose rows of differences follow from the printed columns
MAIN = (
    "base",
    "off_distill",
    "off_distill_replay",
    "on_distill",
    "on_distill_replay",
    "grpo",
    "grpo_replay",
    "zppo",
)
SHORT = ("base", "off_distill_replay", "on_distill_replay", "grpo_replay", "zppo")
PARTS = ("base", "grpo", "grpo_replay", "grpo_both", "grpo_replay_bcq", "grpo_replay_ncq", "zppo")
HELP = ("base", "grpo_replay", "grpo_replay_hint", "grpo_replay_prefix", "grpo_replay_bcq", "zppo")

Texts = tuple[str | None, str | None, str | None]


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper; `make` fills it for some scales."""

    number: int
    title: str
    make: Callable[[Results, PaperTable, Sequence[str]], list[Block]]
    families: tuple[str, ...] = FAMILIES
    methods: tuple[str, ...] = ()
    scales: tuple[str, ...] = PAPER_SCALES  # that the paper prints
    delta: str = "Δ to best other"  # the row of ZPPO minus the best of the other `methods`
    teacher: bool = False  # family averages end in a row of the teacher


def by_benchmark(results: Results, t: PaperTable, scales: Sequence[str]) -> list[Block]:
    """One block a scale and family: methods by benchmarks."""
    blocks = []
    for scale in scales:
        for family in t.families:
            columns = (*results.benchmarks(scale, family), AVERAGE)
            rows = [((m,), _cells(results, scale, family, m, columns)) for m in t.methods]
            rows.append(((t.delta,), [_delta(results, t, scale, family, b) for b in columns]))
            if len(columns) > 1:
                title = f"Table {t.number}: {t.title}; {scale}, {family}"
                where = (("scale", scale), ("family", family))
                blocks.append(Block(title, ("method",), columns, rows, where=where))
    return blocks


def _cells(
    results: Results, scale: str, family: str, method: str, columns: Iterable[str]
) -> list[Cell]:
    return [
        Cell(results.score(scale, family, method, b), published().get((scale, family, method, b)))
        for b in columns
    ]


def _delta(results: Results, t: PaperTable, scale: str, family: str, benchmark: str) -> Cell:
    """ZPPO minus the best of the table's other methods in one column [points].

    Ours needs all of them: the best of some may not be the best. * as for a score.
    """
    others = [m for m in t.methods if m != OURS]
    rows = [results.scores.get((scale, family, m, benchmark)) for m in (OURS, *others)]
    scores = [s for row in rows if row is not None and (s := row["score"]) is not None]
    measured = None
    if len(scores) == len(rows):
        stars = "" if all(row is not None and row["complete"] for row in rows) else "*"
        measured = signed(scores[0] - max(scores[1:])) + stars
    in_paper = None
    if t.number in DELTAS_PRINTED:
        printed = [published().get((scale, family, m, benchmark)) for m in (OURS, *others)]
        values = [float(p) for p in printed if p is not None]
        in_paper = signed(values[0] - max(values[1:])) if len(values) == len(rows) else None
    elif (t.number, benchmark) == (18, AVERAGE):
        gain = gains_over_base().get((scale, family))
        in_paper = None if gain is None else signed(gain)
    return Cell(measured, in_paper)


def averages(results: Results, t: PaperTable, scales: Sequence[str]) -> list[Block]:
    """Family averages: scales and methods by families."""
    rows = []
    for scale in scales:
        for method in t.methods:
            cells = [_cells(results, scale, family, method, [AVERAGE])[0] for family in t.families]
            rows.append(((scale, method), cells))
        deltas = [_delta(results, t, scale, family, AVERAGE) for family in t.families]
        rows.append(((scale, t.delta), deltas))
    if t.teacher:
        for group in _groups(scales):
            cells = [_taught(results, group, family, AVERAGE) for family in t.families]
            rows.append(((_teacher_scale(group), "teacher"), cells))
    return [Block(f"Table {t.number}: {t.title}", ("scale", "method"), t.families, rows)]


def against_teacher(results: Results, t: PaperTable, scales: Sequence[str]) -> list[Block]:
    """ZPPO at every scale and the teacher, by benchmark; the teacher is that of the runs."""
    (family,) = t.families
    blocks = []
    for group in _groups(scales):
        columns = (*results.benchmarks(group[0], family), AVERAGE)
        if len(columns) == 1:
            continue
        rows = [
            ((scale, "zppo"), _cells(results, scale, family, "zppo", columns)) for scale in group
        ]
        teacher = [_taught(results, group, family, b) for b in columns]
        rows.append(((_teacher_scale(group), "teacher"), teacher))
        rows += [
            ((scale, t.delta), [_delta(results, t, scale, family, b) for b in columns])
            for scale in group
        ]
        title, where = f"Table {t.number}: {t.title}", (("family", family),)
        blocks.append(Block(title, ("scale", "method"), columns, rows, where=where))
    return blocks


def _groups(scales: Sequence[str]) -> list[list[str]]:
    """Scales that share a teacher: those of the paper, and each other one by itself."""
    paper = [s for s in scales if s in PAPER_SCALES]
    return [g for g in (paper, *([s] for s in scales if s not in PAPER_SCALES)) if g]


def _teacher_scale(group: Sequence[str]) -> str:
    return "27B" if group[0] in PAPER_SCALES else group[0]


def _taught(results: Results, group: Sequence[str], family: str, benchmark: str) -> Cell:
    """The teacher of a group of scales: ours is that of the first scale that has its score."""
    scores = (results.score(s, family, "teacher", benchmark) for s in group)
    paper = published().get((_teacher_scale(group), family, "teacher", benchmark))
    return Cell(next(filter(None, scores), None), paper)


def cost(results: Results, t: PaperTable, scales: Sequence[str]) -> list[Block]:
    """Hours and FLOPs a run, in the paper's convention and by true token counts."""
    paper = {(r["scale"], r["method"]): r for r in reference("cost")}
    measured = {
        (r["scale"], r["method"]): r
        for r in typed(
            Costs,
            results.select(
                "scale, method, avg(hours) AS hours, avg(flops_paper) AS flops_paper, "
                "avg(flops_used) AS flops_used, avg(tokens_used) AS tokens_used",
                "run_cost_totals JOIN run_settings USING (run_key)",
                "GROUP BY scale, method",
            ),
        )
    }
    rows = []
    for scale in scales:
        for method in t.methods:
            o, p = measured.get((scale, method)), paper.get((scale, method), {})
            cells = [
                Cell(_text(number, o and o["hours"], 2), p.get("hours")),
                Cell(_text(scientific, o and o["flops_paper"]), p.get("flops")),
                Cell(_text(scientific, o and o["flops_used"])),
                Cell(_text(scientific, o and o["tokens_used"])),
            ]
            rows.append(((scale, method), cells))
    columns = ("hours", "FLOPs, paper's convention", "FLOPs, true tokens", "tokens")
    return [Block(f"Table {t.number}: {t.title}", ("scale", "method"), columns, rows)]


def _text(form: Callable[..., str], value: float | None, *how: int) -> str | None:
    return None if value is None else form(value, *how)


def bootstrap(results: Results, t: PaperTable, scales: Sequence[str]) -> list[Block]:
    """ZPPO minus the others over a family's benchmarks, drawn with replacement."""
    paper = {
        (r["scale"], r["family"], r["comparison"]): r
        for r in reference("bootstrap")
        if r["table"] == str(t.number)
    }
    rows = []
    for scale in scales:
        for family in t.families:
            measured = comparisons(_scores_of(results, scale, family), t.methods)
            for name in (*t.methods, BEST):
                comparison = f"zppo-{name}"
                p = paper.get((scale, family, comparison))
                printed: Texts = (None, None, None)
                computed: Texts = (None, None, None)
                if p:
                    mean, low, high = (float(p[c]) for c in ("delta", "ci_low", "ci_high"))
                    printed = _interval(mean, low, high, p["wins"], p["n"])
                if comparison in measured:
                    computed = _interval(*measured[comparison][0], measured[comparison][1])
                cells = [Cell(*pair) for pair in zip(computed, printed, strict=True)]
                rows.append(((scale, family, comparison), cells))
    columns = ("points", "95 % interval", "wins")
    labels = ("scale", "family", "comparison")
    return [Block(f"Table {t.number}: {t.title}", labels, columns, rows)]


def _interval(mean: float, low: float, high: float, wins: int | str, n: int | str) -> Texts:
    return signed(mean, 2), f"[{low:.2f}, {high:.2f}]", f"{wins} of {n}"


def _scores_of(results: Results, scale: str, family: str) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {}
    for (s, f, method, benchmark), row in results.scores.items():
        if (
            (s, f) == (scale, family)
            and benchmark != AVERAGE
            and (score := row["score"]) is not None
        ):
            scores.setdefault(method, {})[benchmark] = score
    return scores


AUDIT = """
scale, subset, sum(n)::BIGINT AS n, sum(n * match_pos) / sum(n) AS match_pos,
sum(n * match_neg) / sum(n) AS match_neg, sum(n * other) / sum(n) AS other,
sum(n * accuracy) / sum(n) AS accuracy
"""


def audit(results: Results, t: PaperTable, scales: Sequence[str]) -> list[Block]:
    """What ZPPO's reformulated rollouts answer: the right candidate, a wrong one, neither."""
    kind = "bcq" if t.number == 16 else "ncq"
    subsets = ("correct", "wrong") if kind == "bcq" else ("all",)
    paper = {(r["scale"], r.get("subset", "all")): r for r in reference(f"{kind}_audit")}
    measured = {
        (r["scale"], r["subset"]): r
        for r in typed(
            Audited,
            results.select(
                AUDIT,
                "candidate_audit JOIN run_settings USING (run_key)",
                f"AND kind = '{kind}' AND method = 'zppo' GROUP BY scale, subset",
            ),
        )
    }
    rows = []
    for scale in scales:
        for subset in subsets:
            o, p = measured.get((scale, subset)), paper.get((scale, subset), {})
            cells = [Cell(f"{o['n']:,}" if o else None, p.get("n"))]
            shares = {
                "match_pos": o and o["match_pos"],
                "match_neg": o and o["match_neg"],
                "other": o and o["other"],
            }
            cells += [Cell(_text(number, value), p.get(c)) for c, value in shares.items()]
            total = _accuracy(measured, scale, subsets)
            cells.append(Cell(_text(number, total), p.get(f"{kind}_acc")))
            rows.append(((scale, subset), cells))
    columns = ("rollouts", "right candidate", "wrong candidate", "neither", "accuracy")
    labels = ("scale", "rollouts judged")
    return [Block(f"Table {t.number}: {t.title}, percent", labels, columns, rows)]


def _accuracy(
    measured: Mapping[tuple[str, str], Audited], scale: str, subsets: Sequence[str]
) -> float | None:
    present = [measured[scale, s] for s in subsets if (scale, s) in measured]
    n = sum(r["n"] for r in present)
    return sum(r["n"] * r["accuracy"] for r in present) / n if n else None


SMALL, LARGE = PAPER_SCALES[:2], PAPER_SCALES[2:]
COSTED = (
    "off_distill",
    "off_distill_replay",
    "on_distill",
    "on_distill_replay",
    "grpo",
    "grpo_replay",
    "zppo",
)
DISTILLED = ("off_distill_replay", "on_distill_replay", "grpo_replay")
TAUGHT = (("teacher", OURS), PAPER_SCALES, "Δ to teacher")
STEPS = ("grpo_replay", "grpo_replay_bcq", "grpo_replay_ncq")
TABLES = {
    t.number: t
    for t in (
        PaperTable(1, "methods on VLM benchmarks", by_benchmark, ("VLM",), MAIN, SMALL),
        PaperTable(
            2, "methods on LLM and Video benchmarks", by_benchmark, ("LLM", "Video"), SHORT, SMALL
        ),
        PaperTable(3, "ablation on VLM benchmarks", by_benchmark, ("VLM",), PARTS, SMALL),
        PaperTable(
            4, "help from the teacher, family averages", averages, methods=HELP, scales=SMALL
        ),
        PaperTable(9, "cost of a run", cost, methods=COSTED),
        PaperTable(10, "methods on VLM benchmarks", by_benchmark, ("VLM",), MAIN, LARGE),
        PaperTable(
            11, "methods on LLM and Video benchmarks", by_benchmark, ("LLM", "Video"), SHORT, LARGE
        ),
        PaperTable(12, "ablation on VLM benchmarks", by_benchmark, ("VLM",), PARTS, LARGE),
        PaperTable(
            13, "ablation on LLM and Video benchmarks", by_benchmark, ("LLM", "Video"), PARTS
        ),
        PaperTable(
            14,
            "ZPPO against other methods, bootstrap over benchmarks",
            bootstrap,
            methods=DISTILLED,
        ),
        PaperTable(
            15, "ZPPO against its parts, bootstrap over benchmarks", bootstrap, methods=STEPS
        ),
        PaperTable(16, "what BCQ rollouts answer", audit),
        PaperTable(17, "what NCQ rollouts answer", audit),
        PaperTable(
            18,
            "ZPPO over its base, family averages",
            averages,
            methods=("base", "zppo"),
            delta="Δ to base",
            teacher=True,
        ),
        PaperTable(19, "ZPPO against its teacher, LLM", against_teacher, ("LLM",), *TAUGHT),
        PaperTable(20, "ZPPO against its teacher, VLM", against_teacher, ("VLM",), *TAUGHT),
        PaperTable(21, "ZPPO against its teacher, Video", against_teacher, ("Video",), *TAUGHT),
    )
}


def blocks(
    connection: duckdb.DuckDBPyConnection,
    number: int,
    scales: Sequence[str] = (),
    variant: str = "",
    runs: Sequence[str] = (),
) -> list[Block]:
    """Table `number` for `scales`, or for what the database and the table have.

    By default the scales of the paper's table that were run, and every run scale that is not of the
    paper; `variant` and `runs` as in `Results`. UserError if there is no such table or no run.
    """
    if number not in TABLES:
        raise UserError(f"no table {number}; there are {', '.join(map(str, TABLES))}")
    t = TABLES[number]
    results = Results(connection, variant, runs, t.methods or (OURS,))
    scales_present = [s for s in results.variants if s in t.scales or s not in PAPER_SCALES]
    chosen = list(scales) or sorted(scales_present, key=scale_order)
    if not chosen:
        raise UserError(
            f"no run of a scale of Table {number}; run one, or name a scale with --scale"
        )
    tables = t.make(results, t, chosen)
    notes = "; ".join(results.notes(chosen))
    if not tables:
        raise UserError(f"nothing was evaluated that Table {number} shows")
    where = (("table", str(number)),)
    return [replace(b, note=notes, where=(*where, *b.where)) for b in tables]
