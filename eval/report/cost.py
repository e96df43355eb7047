"""What a run costs: by the database, or planned from a configuration.

zppo cost [--run KEY] [--database PATH]
zppo cost --plan 4B [--method zppo]

2N FLOPs a generated or rescored token, 6N a trained token and update, N the model's parameters
(appendix D.3). The database holds both the paper's upper bound, every sequence at its longest, and
the tokens as they were. Plan and database count alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from eval.render import duration, scientific, table
from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.published import reference
from eval.report.rows import CostRow, records, typed
from eval.report.summary import find_run
from zppo_core.config import Config, load
from zppo_core.config.methods import Method
from zppo_core.config.schema import method_of
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported

PARAMETERS = {"0.8B": 0.8e9, "2B": 2e9, "4B": 4e9, "9B": 9e9}
TEACHER = 27e9
PAPER_STEPS = 200  # one pass over ZPPO-77K
# What reproduces the printed Table 9 (inconsistency 5 of reference/README.md): another forward
# pass for the old log-probabilities, and the prompt's 4,096 tokens beside the response's 12,288.
HARD_SHARE = 0.46  # of the questions asked that want teacher rollouts, fitted to the zppo rows
RIGHT_SHARE = 0.62  # of the teacher's responses that are right, fitted to the off_distill rows

UNCOUNTED = (
    "Not in it: what a task did that was killed before it committed it. Its draws of the teacher "
    "are in\nthe cache and count as found there. Nor the verdicts of a judge."
)


@dataclass(frozen=True)
class Plan:
    """Tokens and FLOPs of a run by role and activity, every sequence at its longest."""

    tokens: dict[str, float]
    flops: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.flops.values())


def plan(config: Config, student: float, teacher: float = TEACHER, steps: int = 0) -> Plan:
    """The upper bound of a run's FLOPs from its configuration alone, as in Table 9."""
    method, rollout = method_of(config), config.rollout
    steps = steps or config.run.rollout_steps or PAPER_STEPS
    length = rollout.max_tokens + config.data.max_prompt_tokens
    asked = rollout.new_prompts * (method.sampling_rounds + config.replay.ratio * method.replay)
    per_step = rollout.group_size * length * steps
    # tokens, and FLOPs of each
    roles = {"student generates": (asked * per_step, 2 * student)}
    drawn = config.teacher.rollouts / rollout.group_size
    learns_from = method.objective.learns_from
    if learns_from == "advantages":
        extra = rollout.new_prompts * config.reformulation.ratio * bool(method.reformulations)
        tokens, updates = (asked + extra) * per_step, config.optimizer.updates
        roles = {
            "student generates": (tokens, 2 * student),
            "student rescores": (tokens * (updates > 1), 2 * student),
            "student trains": (tokens, 6 * student * updates),
        }
        if method.uses_teacher:
            share = 1.0 if method.objective.draws_for_all else HARD_SHARE
            roles["teacher generates"] = (share * asked * drawn * per_step, 2 * teacher)
            roles["teacher summarises"] = (_summarised(config, method) * steps, 2 * teacher)
    elif learns_from == "student":
        roles["student trains"] = (asked * per_step, 6 * student)
        if method.objective.evidence:
            roles["student rescores"] = (asked * per_step, 2 * student)
            roles["teacher generates"] = (asked * drawn * per_step, 2 * teacher)
        else:
            roles["teacher rescores"] = (asked * per_step, 2 * teacher)
    else:
        right = RIGHT_SHARE * asked * drawn * per_step
        roles["student trains"] = (right, 6 * student)
        roles["teacher rescores"] = (right, 2 * teacher)
        roles["teacher generates"] = (asked * drawn * per_step, 2 * teacher)
    return Plan({k: n for k, (n, _) in roles.items()}, {k: n * f for k, (n, f) in roles.items()})


def _summarised(config: Config, method: Method) -> float:
    """Tokens of a step's candidates and hints, each at its cap and written once.

    A question that gives a BCQ and an NCQ has its wrong responses compressed for both.
    """
    # a placebo has as many texts as what it stands for
    kinds, r = {k.removeprefix("placebo_") for k in method.reformulations}, config.reformulation
    if kinds - {"hint"} and r.compression == "extract":
        return 0.0
    group = config.rollout.group_size
    pairs = ("bcq", "shuffled_bcq", "lorem", "bcq_right_only", "bcq_wrong_only")
    texts = {**dict.fromkeys(pairs, 2.0), "hint": 1.0, "prefix": 0.0}
    # of NCQ and of a user's own kinds: all responses of a group
    most = max(texts.get(kind, float(group)) for kind in kinds)
    each = (1 + group) / 2 if {"bcq", "ncq"} <= kinds else most
    return config.rollout.new_prompts * r.ratio * each * r.candidate_tokens


def plan_text(scale: str, method: str) -> str:
    """The planned cost of a preset as a table; UserError for a scale of unknown size.

    Below it the hours that the paper's Table 9 gives for the same run.
    """
    if scale not in PARAMETERS:
        raise UserError(f"--plan {scale}: one of {', '.join(PARAMETERS)}")
    config = load(scale, [f"run.method={method}"])
    planned = plan(config, PARAMETERS[scale])
    rows = [
        [name, scientific(planned.tokens[name]), scientific(value)]
        for name, value in planned.flops.items()
        if value
    ]
    rows.append(["all", scientific(sum(planned.tokens.values())), scientific(planned.total)])
    shown = f"{method}, {scale}, at most\n" + table(["activity", "tokens", "FLOPs"], rows)
    key = ("9", scale, method)
    hours = [r["hours"] for r in reference("cost") if (r["table"], r["scale"], r["method"]) == key]
    return shown + f"\nThe paper's run took {hours[0]} hours (Table 9)" if hours else shown


class Totals(TypedDict):
    hours: float | None
    tokens_used: int | None
    flops_used: float | None


def run_text(database: str, run: str | None) -> str:
    """A run's cost as a table: true tokens and FLOPs, the paper's convention beside them."""
    with open_database(database) as connection:
        key = find_run(connection, run)["run_key"]
        costs = records(
            connection, "SELECT * FROM run_costs WHERE run_key = ? ORDER BY role, activity", [key]
        )
        total = records(
            connection,
            "SELECT hours, tokens_used, flops_used FROM run_cost_totals WHERE run_key = ?",
            [key],
        )
    rows, (totals,) = typed(CostRow, costs), typed(Totals, total)
    cells = [
        [
            f"{r['role']} {r['activity']}",
            scientific(r["model_params"]),
            f"{r['tokens']:,}",
            scientific(r["flops_true"]),
            f"{r['tokens_cap']:,}",
            scientific(r["flops_paper"]),
        ]
        for r in rows
    ]
    cells.append(
        [
            "all",
            "",
            f"{sum(r['tokens'] for r in rows):,}",
            scientific(sum(r["flops_true"] for r in rows)),
            f"{sum(r['tokens_cap'] for r in rows):,}",
            scientific(sum(r["flops_paper"] for r in rows)),
        ]
    )
    columns = ["cost", "parameters", "tokens", "FLOPs", "tokens at the cap", "paper's FLOPs"]
    spent, used = totals["hours"], totals["tokens_used"]
    wall = "" if spent is None else f"Training took {duration(3600 * spent)}\n"
    whole = (
        "With what it used of the teacher, drawn by whatever run, and no other draws: "
        f"{used:,} tokens,\n{scientific(totals['flops_used'] or 0.0)} FLOPs.\n"
        if used is not None
        else ""
    )
    return f"Run {key}\n{wall}{table(columns, cells)}{whole}{UNCOUNTED}"


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command("cost", __doc__ or "", "zppo cost --plan 4B")
    parser.add_argument("--run", help="run key or its beginning; default: the latest run")
    parser.add_argument("--plan", metavar="SCALE", default="", help="0.8B, 2B, 4B or 9B")
    parser.add_argument("--method", default="zppo", help="for --plan")
    parser.add_argument("--database", default=DEFAULT_DATABASE)
    o = parser.parse_args(arguments)
    print(plan_text(o.plan, o.method) if o.plan else run_text(o.database, o.run))
    return 0
