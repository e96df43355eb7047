"""A sweep's methods against the paper's claims: `zppo evidence [--sweep evidence]`.

Every claim is a contrast of methods within a seed, because members of a seed share base, data order
and test questions; its 95 % interval is Student's t over the seeds. It holds if the interval lies
above zero, does not hold if below, and is undecided if zero is inside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from eval.render import MISSING, number, signed, table, wrapped
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.rows import GraduatedShare, Graduation, Measured, TeacherTokens, records, typed
from eval.report.summary import FAMILIES
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported

PAGE = Path("docs/evidence.md")
START, END = "<!-- measured -->", "<!-- /measured -->"
ORDER = (
    "base",
    "grpo",
    "grpo_replay",
    "grpo_both",
    "grpo_replay_bcq",
    "grpo_replay_ncq",
    "zppo",
    "off_distill_replay",
    "on_distill_replay",
)
HARDEST, ENTRIES = "graduated of 0 %", "graduated of all"
UNSEEN = "nano_text_new"  # kinds of question that no training asks

Cells = Mapping[tuple[str, str], Mapping[int, float]]  # (method, quantity) -> seed -> percent


@dataclass(frozen=True)
class Gap:
    """A paired difference [points]: mean, 95 % t interval over `n` seeds, and what could be told.

    `detectable` is the true difference that a test at 5 % would find four times out of five.
    """

    mean: float
    low: float
    high: float
    n: int
    detectable: float

    @property
    def verdict(self) -> str:
        if self.low > 0:
            return "holds"
        return "does not hold" if self.high < 0 else "undecided"

    def __str__(self) -> str:
        return f"{signed(self.mean)} [{signed(self.low)}, {signed(self.high)}]"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper: a sum of methods' quantities that it says is above zero."""

    text: str
    terms: tuple[tuple[int, str], ...]
    quantities: tuple[str, ...] = FAMILIES

    def gap(self, cells: Cells, quantity: str) -> Gap | None:
        """The contrast over the seeds that all its methods have; None under two seeds."""
        columns = [(sign, cells.get((method, quantity), {})) for sign, method in self.terms]
        seeds = set.intersection(*(set(column) for _, column in columns))
        if len(seeds) < 2:
            return None
        return gap([sum(sign * c[seed] for sign, c in columns) for seed in sorted(seeds)])


def _above(one: str, other: str) -> tuple[tuple[int, str], ...]:
    return ((1, one), (-1, other))


CLAIMS = (
    Claim("ZPPO gains over its base", _above("zppo", "base"), (*FAMILIES, UNSEEN)),
    Claim("ZPPO is above GRPO", _above("zppo", "grpo")),
    Claim("ZPPO is above GRPO with replay", _above("zppo", "grpo_replay")),
    Claim("ZPPO is above off-policy distillation", _above("zppo", "off_distill_replay")),
    Claim("ZPPO is above on-policy distillation", _above("zppo", "on_distill_replay")),
    Claim("ZPPO is above BCQ and NCQ without replay", _above("zppo", "grpo_both")),
    Claim("ZPPO is above replay with BCQ alone", _above("zppo", "grpo_replay_bcq")),
    Claim("ZPPO is above replay with NCQ alone", _above("zppo", "grpo_replay_ncq")),
    Claim("replay alone helps GRPO", _above("grpo_replay", "grpo")),
    Claim("BCQ and NCQ alone help GRPO", _above("grpo_both", "grpo")),
    Claim("BCQ helps when added to replay", _above("grpo_replay_bcq", "grpo_replay")),
    Claim("NCQ helps when added to replay", _above("grpo_replay_ncq", "grpo_replay")),
    Claim(
        "replay with BCQ and NCQ gains more than the sum of both (super-additive)",
        ((1, "zppo"), (-1, "grpo_replay"), (-1, "grpo_both"), (1, "grpo")),
    ),
    Claim(
        "off-policy distillation loses on families it was not trained on",
        _above("base", "off_distill_replay"),
        ("LLM", "Video", UNSEEN),
    ),
    Claim(
        "on-policy distillation loses on families it was not trained on",
        _above("base", "on_distill_replay"),
        ("LLM", "Video", UNSEEN),
    ),
    Claim(
        "of the questions admitted at 0 %, ZPPO graduates more than GRPO with replay",
        _above("zppo", "grpo_replay"),
        (HARDEST,),
    ),
    Claim(
        "of all admitted questions, ZPPO graduates more than GRPO with replay",
        _above("zppo", "grpo_replay"),
        (ENTRIES,),
    ),
)


def gap(differences: Sequence[float]) -> Gap:
    """Mean and t interval of paired differences, one a seed; ValueError under two."""
    from scipy import stats

    n = len(differences)
    if n < 2:
        raise ValueError("an interval needs two seeds or more")
    mean = sum(differences) / n
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    quantile, power = (float(stats.t.ppf(p, n - 1)) for p in (0.975, 0.8))
    half = quantile * error
    return Gap(mean, mean - half, mean + half, n, (quantile + power) * error)


def measured(
    connection: duckdb.DuckDBPyConnection, sweep: str
) -> dict[tuple[str, str], dict[int, float]]:
    """(method, quantity) -> {seed: percent} of a sweep: families, benchmarks, graduated shares."""
    cells: dict[tuple[str, str], dict[int, float]] = {}
    like = f"{sweep}-%"
    scores = records(
        connection,
        "SELECT method, if(benchmark = 'Avg', family, benchmark) AS quantity, seed, "
        "avg(score) AS value FROM method_scores WHERE run_key LIKE ? AND complete GROUP BY ALL",
        [like],
    )
    for row in typed(Measured, scores):
        cells.setdefault((row["method"], row["quantity"]), {})[row["seed"]] = row["value"]
    for quantity, bins in ((HARDEST, "entry_bin = 0"), (ENTRIES, "true")):
        shares = records(
            connection,
            "SELECT method, seed, 100 * sum(graduated) / sum(admitted) AS value "
            f"FROM graduation JOIN runs USING (run_key) WHERE run_key LIKE ? AND {bins} "
            "GROUP BY ALL",
            [like],
        )
        for share in typed(GraduatedShare, shares):
            cells.setdefault((share["method"], quantity), {})[share["seed"]] = share["value"]
    if not cells:
        raise UserError(f"the database holds no run of a sweep {sweep!r}: make evidence")
    return cells


def _accuracy(cells: Cells) -> str:
    rows = []
    for method in ORDER:
        quantities = [cells.get((method, quantity), {}) for quantity in (*FAMILIES, UNSEEN)]
        rows.append(
            [f"`{method}`", str(max(map(len, quantities))), *map(_with_interval, quantities)]
        )
    return table(["method", "seeds", *FAMILIES, UNSEEN], rows, "markdown")


def _with_interval(values: Mapping[int, float]) -> str:
    if len(values) < 2:
        return number(next(iter(values.values()), None))
    estimate = gap(list(values.values()))
    return f"{estimate.mean:.1f} ± {estimate.mean - estimate.low:.1f}"


def _graduation(connection: duckdb.DuckDBPyConnection, sweep: str) -> str:
    rows = records(
        connection,
        "SELECT method, entry_bin, sum(admitted) AS a, sum(revisited) AS r, sum(graduated) AS g "
        "FROM graduation JOIN runs USING (run_key) WHERE run_key LIKE ? GROUP BY ALL "
        "ORDER BY entry_bin",
        [f"{sweep}-%"],
    )
    counts = typed(Graduation, rows)
    bins = sorted({r["entry_bin"] for r in counts})
    by_bin = {(r["method"], r["entry_bin"]): r for r in counts}

    def cell(row: Graduation | None) -> str:
        if row is None:
            return MISSING
        shares = (100 * row["g"] / max(of, 1) for of in (row["a"], row["r"]))
        return f"{row['g']:,} of {row['a']:,} (" + "; ".join(f"{s:.0f} %" for s in shares) + ")"

    methods = [m for m in ORDER if any((m, b) in by_bin for b in bins)]
    lines = [[f"`{m}`", *(cell(by_bin.get((m, b))) for b in bins)] for m in methods]
    return table(["method", *(f"{b:g} %" for b in bins)], lines, "markdown")


def _claims(cells: Cells) -> str:
    rows = []
    for claim in CLAIMS:
        for quantity in claim.quantities:
            estimate = claim.gap(cells, quantity)
            cell = [str(estimate), estimate.verdict] if estimate else [MISSING, "not measured"]
            rows.append([claim.text, quantity, *cell])
    return table(["the paper says", "on", "points [95 %]", "verdict"], rows, "markdown", left=2)


def _measured_claims(cells: Cells) -> str:
    gaps = [
        (c.text, q, estimate)
        for c in CLAIMS
        for q in c.quantities
        if q in (*FAMILIES, UNSEEN) and len(c.terms) == 2 and (estimate := c.gap(cells, q))
    ]
    if not gaps:
        return "There are too few seeds to say how small a gap this sweep can find."
    worst = max(gaps, key=lambda g: g[2].detectable)
    middle = sorted(g[2].detectable for g in gaps)[len(gaps) // 2]
    return (
        f"How small a gap can this sweep find? Above are {len(gaps)} comparisons of two methods. A "
        f"typical one finds a true gap of {middle:.1f} points (median) four times out of five. The "
        f"least sensitive one is “{worst[0]}” on {worst[1]}, which needs "
        f"{worst[2].detectable:.1f} points. By chance alone, one interval in twenty misses zero."
    )


def _teacher(connection: duckdb.DuckDBPyConnection, sweep: str) -> str:
    rows = records(
        connection,
        """
        WITH drawn AS (
            SELECT r.seed, run_key, question_id, visit, draw, any_value(tokens) AS tokens
            FROM teacher_draws JOIN runs r USING (run_key)
            WHERE purpose = 'draw' AND run_key LIKE ? GROUP BY ALL
        ), once AS (
            SELECT question_id, visit, draw, min(seed) AS seed, max(tokens) AS tokens
            FROM drawn GROUP BY ALL
        )
        SELECT (SELECT sum(tokens) FROM drawn WHERE seed = first) AS alone,
            (SELECT sum(tokens) FROM once WHERE seed = first) AS shared,
            (SELECT sum(tokens) FROM drawn) AS all_alone,
            (SELECT sum(tokens) FROM once) AS all_shared
        FROM (SELECT min(seed) AS first FROM drawn)
        """,
        [f"{sweep}-%"],
    )
    (row,) = typed(TeacherTokens, rows)
    if not row["alone"]:
        return "No run drew from a teacher."
    names = [("one seed", row["alone"], row["shared"])]
    names.append(("all seeds", row["all_alone"], row["all_shared"]))
    lines = [[n, f"{a:,}", f"{s:,}", f"{100 * (1 - s / a):.0f} %"] for n, a, s in names]
    return table(["", "each run alone", "shared", "saved"], lines, "markdown")


def page(connection: duckdb.DuckDBPyConnection, sweep: str) -> str:
    """The measured part of the evidence page, in Markdown."""
    cells = measured(connection, sweep)
    totals = records(
        connection,
        "SELECT count(*) AS runs, count(DISTINCT seed) AS seeds, min(created_at)::DATE AS first, "
        "max(created_at)::DATE AS last, string_agg(DISTINCT machine, '; ') AS machine, "
        "string_agg(DISTINCT code_version, ', ') AS code, "
        "any_value(config_json ->> '$.run.rollout_steps') AS steps FROM runs WHERE run_key LIKE ?",
        [f"{sweep}-%"],
    )[0]
    n = records(
        connection,
        "SELECT family, min(n) AS n FROM run_families WHERE run_key LIKE ? AND role = 'student' "
        "GROUP BY family",
        [f"{sweep}-%"],
    )
    asked = ", ".join(f"{r['family']} {r['n']:,.0f}" for r in n)
    return "\n".join(
        [
            wrapped(
                f"- {totals['runs']} runs of {totals['steps']} rollout steps over "
                f"{totals['seeds']} seeds, {totals['first']} to {totals['last']}.",
                f"- Machine: {totals['machine']}. Code: {totals['code']}.",
                f"- Test questions for each model: {asked}.",
            ),
            "## Accuracy\n",
            wrapped(
                "Percent: the mean over seeds ± half of the 95 % interval (t). "
                f"`{UNSEEN}` has kinds of question that no training asks. It is one of the LLM "
                "benchmarks, so the column LLM includes it."
            ),
            _accuracy(cells),
            "![Gains of ZPPO over the other methods](pictures/evidence.svg)\n",
            "## Claims\n",
            wrapped(
                "Points are the left side of the claim minus the right side, so a positive number "
                "agrees with the claim. Where distillation loses, they are the base minus the "
                "method, so a positive number is a loss."
            ),
            _claims(cells),
            wrapped(_measured_claims(cells)),
            "## Graduation by accuracy at entry\n",
            wrapped(
                "Each cell is graduated of admitted questions, over all seeds. In brackets are the "
                "shares of the admitted questions and of those that were asked again."
            ),
            _graduation(connection, sweep),
            "## Teacher tokens\n",
            wrapped(
                "Tokens of the teacher's draws in this sweep. `each run alone` counts a draw for "
                "each run that used it; `shared` counts it once."
            ),
            _teacher(connection, sweep),
        ]
    )


def draw(cells: Cells, path: Path) -> None:
    """ZPPO minus each other method by family, with 95 % intervals, as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    others = [m for m in ORDER if m not in ("base", "zppo")]
    figure, axes = plt.subplots(1, len(FAMILIES), figsize=(9, 2.9), sharey=True)
    for axis, family in zip(axes, FAMILIES, strict=True):
        for y, other in enumerate(reversed(others)):
            estimate = Claim("", _above("zppo", other)).gap(cells, family)
            if estimate:
                colour = "#767676" if estimate.verdict == "undecided" else "#0072b2"
                axis.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=2)
                axis.plot(estimate.mean, y, "o", color=colour)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(family, fontsize=10)
        axis.set_xlabel("ZPPO minus the other, points")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(others)), list(reversed(others)))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = "zppo"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write(database: str | Path, sweep: str, path: Path = PAGE) -> None:
    """Replace the measured part of the page at `path`, its picture, and the scores beside it.

    The words around the marks stay; without them the measured part is the page.
    """
    with open_database(database) as connection:
        body = page(connection, sweep)
        cells = measured(connection, sweep)
    draw(cells, path.parent / "pictures" / "evidence.svg")
    rows = [
        [method, quantity, str(seed), f"{value:.2f}"]
        for (method, quantity), values in sorted(cells.items())
        for seed, value in sorted(values.items())
    ]
    scores = table(["method", "quantity", "seed", "percent"], rows, "csv")
    path.with_suffix(".csv").write_text(scores, encoding="utf-8")
    block = f"{START}\n\n{body}\n{END}"
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    marked = re.compile(re.escape(START) + ".*" + re.escape(END), re.DOTALL)
    new = marked.sub(lambda _: block, old) if marked.search(old) else f"# Evidence\n\n{block}\n"
    path.write_text(new, encoding="utf-8")


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 2 with a line for each fault."""
    parser = command(
        "evidence", __doc__ or "", "zppo evidence --sweep evidence --page docs/evidence.md"
    )
    parser.add_argument("--sweep", default="evidence")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    write(options.database, options.sweep, options.page)
    print(f"wrote {options.page}")
    return 0
