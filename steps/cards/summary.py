"""The card of the `aggregate` task: what the run learned, on one page."""

from __future__ import annotations

from collections.abc import Mapping

from eval.render import number, scientific, signed
from eval.report.progress import Progress
from eval.report.published import AVERAGE, published
from eval.report.rows import BenchmarkRow, FamilyRow, Summary
from steps.cards import curves
from steps.cards.blocks import Tile, charts, facts, head, heading, table, tiles
from steps.cards.chart import Interval, intervals, plain, seconds
from steps.cards.page import Card, put

ROLES = ("base", "student", "teacher")


def draw(card: Card, summary: Summary, record: Progress, where: Mapping[str, str]) -> None:
    """Put the run's results in place of what was there. `where` names places and next commands."""
    put(card, *view(summary, record, where))


def view(summary: Summary, record: Progress, where: Mapping[str, str]) -> list[str]:
    """Accuracy before and after, the paper's table, curves, buffer, time, cost, what to do next."""
    run = summary["run"]
    parts = [
        head(
            f"{run['method']}, scale {run['scale']}, seed {run['seed']}",
            f"run {run['run_key']}, {run['steps']} rollout steps, {run['student_params']:,} "
            f"parameters, {run['machine']}, {run['created_at']} UTC, code {run['code_version']}",
        ),
        tiles(gains(summary)),
        heading("Accuracy", "Percent, before and after training, with 95 % intervals."),
        charts(by_family(summary)),
        heading(
            "The paper's table for this run",
            "Percent; beside it the published value, if the paper has one.",
        ),
        main_table(summary),
        heading("The whole run"),
        charts([*curves.learning(record), *curves.optimisation(record)[:3]]),
    ]
    if summary["graduation"]:
        parts += [heading("Replay buffer, by accuracy at admission"), graduation(summary)]
    parts += [heading("Where the time went"), times(summary)]
    if summary["cost"]:
        parts += [heading("Compute"), cost(summary)]
    return [*parts, heading("Where it is, and what to do next"), facts(where, code=True)]


def gains(summary: Summary) -> list[Tile]:
    """What each family of benchmarks gained, and what it cost."""
    values = [
        Tile(f"{r['family']}, points gained", signed(r["gain"]), before_after(r))
        for r in summary["accuracy"]
    ]
    spent = sum(t["seconds"] for t in summary["times"] if t["level"] == "stage")
    flops = sum(r["flops_true"] for r in summary["cost"])
    tokens = sum(r["tokens"] for r in summary["cost"])
    graduated = sum(g["graduated"] for g in summary["graduation"])
    admitted = sum(g["admitted"] for g in summary["graduation"])
    if admitted:
        values.append(Tile("graduated", f"{graduated:,}", f"of {admitted:,} admitted"))
    return [
        *values,
        Tile("time", seconds(spent), "all stages"),
        Tile("compute", f"{scientific(flops)}", f"FLOPs, {plain(tokens)} tokens"),
    ]


def before_after(row: FamilyRow) -> str:
    """A family's accuracy before and after, and the teacher's, in percent."""
    teacher = "" if row["teacher"] is None else f", teacher {number(row['teacher'])}"
    return f"{number(row['base'])} to {number(row['student'])}{teacher}"


def scored(row: BenchmarkRow) -> list[Interval]:
    """A benchmark's scores as fractions, by model."""
    cells = {
        "base": (row["base"], row["base_low"], row["base_high"]),
        "student": (row["student"], row["student_low"], row["student_high"]),
        "teacher": (row["teacher"], row["teacher_low"], row["teacher_high"]),
    }
    return [
        Interval(row["benchmark"], role, score / 100, fraction(low), fraction(high))
        for role, (score, low, high) in cells.items()
        if score is not None
    ]


def fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def by_family(summary: Summary) -> list[str]:
    """A chart of intervals for each family of benchmarks."""
    families = dict.fromkeys(b["family"] for b in summary["benchmarks"])
    return [
        intervals(
            family,
            [i for b in summary["benchmarks"] if b["family"] == family for i in scored(b)],
        )
        for family in families
    ]


def main_table(summary: Summary) -> str:
    """Benchmarks and family means by model, ours and the published value in brackets."""
    run = summary["run"]
    method = {"student": run["method"]}

    def cell(family: str, benchmark: str, role: str, value: float | None) -> str:
        paper = published().get((run["scale"], family, method.get(role, role), benchmark))
        return number(value) + (f" ({paper})" if paper else "")

    rows = []
    for family in summary["accuracy"]:
        members = [b for b in summary["benchmarks"] if b["family"] == family["family"]]
        lines: list[tuple[str, BenchmarkRow | FamilyRow]] = [(b["benchmark"], b) for b in members]
        lines.append((AVERAGE, family))
        rows += [
            [
                family["family"],
                name if name != AVERAGE else "mean",
                cell(family["family"], name, "base", row["base"]),
                cell(family["family"], name, "student", row["student"]),
                signed(row["gain"]),
                cell(family["family"], name, "teacher", row["teacher"]),
                f"{row['n'] or 0:,}",
            ]
            for name, row in lines
        ]
    columns = ["family", "benchmark", "before", "after", "gain", "teacher", "questions"]
    return table(columns, rows, left=2, strong="mean")


def graduation(summary: Summary) -> str:
    """What became of the questions that entered at one accuracy."""
    return table(
        ["entry accuracy", "admitted", "seen again", "graduated", "share", "evicted", "still in"],
        [
            [
                f"{g['entry_accuracy']:g} %",
                f"{g['admitted']:,}",
                f"{g['revisited']:,}",
                f"{g['graduated']:,}",
                f"{g['share']:.1f} %",
                f"{g['evicted']:,}",
                f"{g['held']:,}",
            ]
            for g in summary["graduation"]
        ],
    )


def times(summary: Summary) -> str:
    """Stages and phases, longest first, with a bar for each one's share."""
    rows = [
        [
            t["level"],
            t["phase"],
            seconds(t["seconds"]),
            f"{t['share']:.0f} %",
            f'<div class="bar"><i style="width:{t["share"]:.1f}%"></i></div>',
        ]
        for t in summary["times"]
    ]
    return table(["level", "what", "time", "share", ""], rows, left=2, raw=(4,))


def cost(summary: Summary) -> str:
    """Tokens and FLOPs by model and activity, true and in the paper's convention."""
    return table(
        ["model", "activity", "tokens", "FLOPs", "FLOPs as the paper counts"],
        [
            [
                r["role"],
                r["activity"],
                f"{r['tokens']:,}",
                scientific(r["flops_true"]),
                scientific(r["flops_paper"]),
            ]
            for r in summary["cost"]
        ],
        left=2,
    )
