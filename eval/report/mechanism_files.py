"""What `zppo mechanism` finds of a run, and its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from zppo_core.errors import UserError


@dataclass(frozen=True)
class Share:
    """Groups of one kind with something to teach at a step, and the norm of their gradient's sum.

    The loss is the token mean over all of the step's such groups, so the norms compare.
    """

    step: int
    kind: str
    groups: int
    norm: float


@dataclass(frozen=True)
class Transfer:
    """Cosines of a reformulated group's gradient with plain prompts before their right responses.

    Plain prompts of the group's own question; the mean over other questions of the step and the
    same category; and over those of other categories. None where there is none.
    """

    step: int
    kind: str
    category: str
    same_question: float
    same_category: float | None
    other_categories: float | None


@dataclass(frozen=True)
class Chance:
    """Mean probability of the right procedure on one kind of question and one sort of prompt."""

    step: int
    category: str
    asked: str
    probability: float


@dataclass
class Findings:
    """What was measured of a run, in order; `same`: the weights at the end are the run's own."""

    run: str
    method: str
    seed: int
    shares: list[Share] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    chances: list[Chance] = field(default_factory=list)
    same: bool | None = None


def write(findings: Findings, path: Path) -> None:
    """Write them as JSON: names of columns, then a list for each row, to six digits."""
    kept = {"run": findings.run, "method": findings.method, "seed": findings.seed}
    tables = {
        "shares": _columns(Share, findings.shares),
        "transfers": _columns(Transfer, findings.transfers),
        "chances": _columns(Chance, findings.chances),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**kept, **tables, "same": findings.same}
    path.write_text(json.dumps(whole) + "\n", encoding="utf-8")


def read(path: Path) -> Findings:
    """What `write` wrote; UserError if it is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Findings(
            kept["run"],
            kept["method"],
            kept["seed"],
            _rows(Share, kept["shares"]),
            _rows(Transfer, kept["transfers"]),
            _rows(Chance, kept["chances"]),
            kept["same"],
        )
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(f"{path} cannot be read ({fault!r}); write it by zppo mechanism") from None


Row = TypeVar("Row", Share, Transfer, Chance)


def _columns(kind: type[Row], rows: Sequence[Row]) -> list[list[object]]:
    return [[f.name for f in fields(kind)], *([_short(v) for v in astuple(row)] for row in rows)]


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _rows(kind: type[Row], kept: Sequence[Sequence[Any]]) -> list[Row]:
    columns, *rows = kept
    return [kind(**dict(zip(columns, row, strict=True))) for row in rows]
