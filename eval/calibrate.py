"""How far a judge agrees with labels: `zppo judge calibrate --model PATH|URL#name`.

A line of the labels is {"judge", "question", "answer", "gold", "extra", "label"}: what the judge is
shown, and the score in [0, 1] that is right. Without a file they are those of
`eval/report/reference/judge_labels.jsonl`. Scores count as right from one half on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from eval.engines import ModelSpec
from eval.judges import JUDGES, Case, Judge
from eval.render import table
from eval.scoring.totals import wilson
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported


@dataclass(frozen=True)
class Agreement:
    """Judge against labels: shares and counts, Wilson's 95 % interval, Cohen's kappa.

    `kappa` is None where labels and judge leave nothing to chance (all of one kind).
    """

    judge: str
    n: int
    agreement: float
    low: float
    high: float
    kappa: float | None
    false_right: int  # the judge says right, the label wrong
    false_wrong: int
    malformed: int


def read_labels(text: str) -> list[tuple[Case, float]]:
    """The labelled cases of a JSONL text; UserError naming the line of the first fault."""
    labelled = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            label = float(row["label"])
            case = Case(
                row["judge"], row["question"], row["answer"], row["gold"], row.get("extra", {})
            )
            if case.judge not in JUDGES or not 0 <= label <= 1:
                raise ValueError(f"judge {case.judge!r}, label {label}")
        except (ValueError, KeyError, TypeError) as fault:
            raise UserError(f"labels, line {number}: {fault!r}") from None
        labelled.append((case, label))
    if not labelled:
        raise UserError("no labelled case; write one JSON object a line")
    return labelled


def agreement(judge: str, pairs: Sequence[tuple[bool, bool]], malformed: int) -> Agreement:
    """Agreement over (label, judge) pairs."""
    n, same = len(pairs), sum(a == b for a, b in pairs)
    low, high = wilson(same, n)
    labelled, judged = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    chance = labelled * judged + (1 - labelled) * (1 - judged)
    kappa = None if chance == 1 else (same / n - chance) / (1 - chance)
    return Agreement(
        judge,
        n,
        same / n,
        low,
        high,
        kappa,
        sum(b and not a for a, b in pairs),
        sum(a and not b for a, b in pairs),
        malformed,
    )


def calibrate(judge: Judge, labelled: Sequence[tuple[Case, float]]) -> list[Agreement]:
    """Agreement for each judge that the labels speak of, and over "all"."""
    verdicts = judge.judge_all([case for case, _ in labelled])
    rows = [
        (case.judge, label >= 0.5, v.score >= 0.5, v.malformed)
        for (case, label), v in zip(labelled, verdicts, strict=True)
    ]
    names = [name for name in JUDGES if name in {r[0] for r in rows}]
    agreements = []
    for name in [*names, "all"] if len(names) > 1 else names:
        of_prompt = [r for r in rows if name in (r[0], "all")]
        agreements.append(
            agreement(name, [r[1:3] for r in of_prompt], sum(r[3] for r in of_prompt))
        )
    return agreements


def text_of(agreements: Sequence[Agreement]) -> str:
    """The agreements as an aligned table."""
    cells = [
        [
            a.judge,
            str(a.n),
            f"{100 * a.agreement:.1f} [{100 * a.low:.1f}, {100 * a.high:.1f}]",
            "none" if a.kappa is None else f"{a.kappa:.2f}",
            str(a.false_right),
            str(a.false_wrong),
            str(a.malformed),
        ]
        for a in agreements
    ]
    columns = [
        "judge",
        "cases",
        "agreement, % [95 %]",
        "kappa",
        "false right",
        "false wrong",
        "malformed",
    ]
    return table(columns, cells)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line above; 0, or 2 with a line for each fault."""
    parser = command(
        "judge", __doc__ or "", "zppo judge calibrate --model http://host:8000/v1#NAME"
    )
    parser.add_argument("command", choices=["calibrate"])
    parser.add_argument("--model", required=True, help="folder, hub id or http://host/v1#name")
    parser.add_argument("--labels", type=Path, help="JSONL; default: ours")
    parser.add_argument("--engine", default="hf", choices=["hf", "vllm"])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    o = parser.parse_args(arguments)
    default_labels = resources.files("eval.report") / "reference" / "judge_labels.jsonl"
    try:
        labelled = read_labels((o.labels or default_labels).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--labels {o.labels}: {error.strerror}") from None
    engine = ModelSpec(o.model, o.engine, o.dtype, o.device).open()
    print(text_of(calibrate(Judge(engine), labelled)))
    return 0
