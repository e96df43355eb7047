"""What a run in the world `zone` shows: how soon the hard kinds are learnt, and at what cost.

Everything is of the plain prompts of new questions, each asked for the first time: an accuracy on
them is one on unseen questions, step by step, without an evaluation of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import duckdb

from eval.render import MISSING, number, table
from eval.report import zone_claims
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.rows import records, typed
from zppo_core.data.digit_kinds import ZONE_HARD
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported

HALF = 0.5  # accuracy on the hard kinds by which a run counts as having learnt them
BINS = 4  # rollout steps in a column of the table


class StepRow(TypedDict):
    """Accuracy [fraction] on hard kinds of a rollout step (from 0), and tokens spent by its end."""

    step: int
    accuracy: float
    student_tokens: int
    teacher_tokens: int


class EntryRow(TypedDict):
    """Questions that entered the buffer at 0 %, and those of them that graduated."""

    admitted: int
    graduated: int


class AnswerRow(TypedDict):
    """A question of a benchmark, and whether the student was right."""

    benchmark: str
    correct: bool


@dataclass(frozen=True)
class Measures:
    """The measures of one run; tokens are those generated, by each role, draws found included.

    `area` is the mean over steps of the accuracy on hard kinds; `steps_to_half` the first rollout
    step (from 1) whose mean with the step before reaches a half, None if no step does.
    """

    method: str
    seed: int
    curve: tuple[float, ...]
    student_tokens: tuple[int, ...]
    teacher_tokens: tuple[int, ...]
    area: float
    steps_to_half: int | None
    admitted_at_zero: int
    graduated_at_zero: int


def measures(connection: duckdb.DuckDBPyConnection, run_key: str) -> Measures:
    """The measures of a run in the database; UserError if it holds no rollout step of it."""
    rows = typed(
        StepRow,
        records(
            connection,
            """
            WITH hard AS (
                SELECT step, avg(accuracy) AS accuracy FROM groups
                WHERE run_key = ? AND kind = 'plain' AND list_contains(?, category)
                GROUP BY step
            ), spent AS (
                SELECT step,
                    coalesce(sum(tokens) FILTER (role = 'student'), 0) AS student,
                    coalesce(sum(tokens) FILTER (role = 'teacher'), 0) AS teacher
                FROM costs WHERE run_key = ? AND step >= 0 AND activity = 'generate' GROUP BY step
            )
            SELECT step, accuracy,
                (sum(student) OVER (ORDER BY step))::BIGINT AS student_tokens,
                (sum(teacher) OVER (ORDER BY step))::BIGINT AS teacher_tokens
            FROM hard JOIN spent USING (step) ORDER BY step
            """,
            [run_key, list(ZONE_HARD), run_key],
        ),
    )
    if not rows:
        raise UserError(f"the database holds no rollout step of {run_key!r} on kinds of the zone")
    (entry,) = typed(
        EntryRow,
        records(
            connection,
            "SELECT count(*) AS admitted, count(*) FILTER (fate = 'graduate') AS graduated "
            "FROM buffer_entries WHERE run_key = ? AND entry_bin = 0",
            [run_key],
        ),
    )
    ((method, seed),) = connection.execute(
        "SELECT method, seed FROM runs WHERE run_key = ?", [run_key]
    ).fetchall()
    curve = tuple(row["accuracy"] for row in rows)
    return Measures(
        str(method),
        int(seed),
        curve,
        tuple(row["student_tokens"] for row in rows),
        tuple(row["teacher_tokens"] for row in rows),
        sum(curve) / len(curve),
        steps_to(curve, HALF),
        entry["admitted"],
        entry["graduated"],
    )


def steps_to(curve: Sequence[float], level: float) -> int | None:
    """The first step (from 1) whose mean with the step before is `level` or more; None: no step."""
    for step, (before, here) in enumerate(pairwise(curve), start=2):
        if (before + here) / 2 >= level:
            return step
    return None


def keep(database: str | Path, run_key: str, path: Path, settings: str) -> None:
    """Write the measures of a finished run to `path`, a line of JSON of some kilobytes.

    `settings` says what the run is. `right` has a bit for each question of each benchmark, in order
    of their ids, the first one highest, as hexadecimal digits; `asked` is how many there are.
    """
    with open_database(database) as connection:
        run = asdict(measures(connection, run_key))
        (origin,) = records(
            connection,
            "SELECT code_version, machine FROM runs WHERE run_key = ?",
            [run_key],
        )
        answers = typed(
            AnswerRow,
            records(
                connection,
                "SELECT benchmark, score >= 0.5 AS correct FROM eval_samples "
                "WHERE run_key = ? AND role = 'student' ORDER BY benchmark, sample_id",
                [run_key],
            ),
        )
    bits: dict[str, str] = {}
    for row in answers:
        bits[row["benchmark"]] = bits.get(row["benchmark"], "") + str(int(row["correct"]))
    right = {name: f"{int(text, 2):0{-(-len(text) // 4)}x}" for name, text in bits.items()}
    asked = {name: len(text) for name, text in bits.items()}
    line = json.dumps({"settings": settings, **origin, **run, "asked": asked, "right": right})
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".writing")  # a kill in the middle must leave no half file
    aside.write_text(line + "\n", encoding="utf-8")
    os.replace(aside, path)


def text(shown: Mapping[str, Measures]) -> str:
    """A row a run: accuracy on hard kinds by steps, and its measures, as Markdown."""
    longest = max(len(m.curve) for m in shown.values())
    spans = [(i, min(i + BINS, longest)) for i in range(0, longest, BINS)]
    rows = []
    for m in shown.values():
        parts = [m.curve[a:b] for a, b in spans]
        rows.append(
            [
                f"`{m.method}`",
                str(m.seed),
                *(number(100 * sum(p) / len(p)) if p else MISSING for p in parts),
                number(100 * m.area),
                str(m.steps_to_half or MISSING),
                f"{m.graduated_at_zero} of {m.admitted_at_zero}",
                f"{m.student_tokens[-1] / 1000:,.0f}",
                f"{m.teacher_tokens[-1] / 1000:,.0f}",
            ]
        )
    columns = ["method", "seed", *(f"steps {a + 1}–{b}" for a, b in spans)]
    columns += ["area", "steps to 50 %", "graduated of 0 %", "student k", "teacher k"]
    return table(columns, rows, "markdown")


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo zone`; 0, or 2 with a line for each fault."""
    reader = command("zone", __doc__ or "", "zppo zone --sweep trial")
    reader.add_argument("--sweep", default="zone", help="default: %(default)s")
    reader.add_argument("--database", default=DEFAULT_DATABASE)
    reader.add_argument(
        "--results", type=Path, help="a folder of kept results: the sweep's claims, no database"
    )
    reader.add_argument("--claims", default="zone", help="the sweep whose claims; default: zone")
    reader.add_argument("--page", type=Path, help="with --results: the page to write them into")
    options = reader.parse_args(arguments)
    if options.page and not options.results:
        raise UserError("--page is written from result files; name their folder by --results")
    if options.results:
        outcomes = zone_claims.read(options.results)
        judged = zone_claims.verdicts(zone_claims.claims(options.claims), outcomes)
        if options.page:
            from eval.report import zone_page  # matplotlib

            zone_page.write(outcomes, judged, options.page)
        print(zone_claims.text(judged), end="")
        return 0
    with open_database(options.database) as connection:
        keys = connection.execute(
            "SELECT run_key FROM runs WHERE run_key LIKE ? ORDER BY seed, method",
            [f"{options.sweep}-%"],
        ).fetchall()
        if not keys:
            raise UserError(f"the database holds no run of a sweep {options.sweep!r}")
        print(text({key: measures(connection, key) for (key,) in keys}), end="")
    return 0
