"""The paper's printed numbers (`reference/`): shown beside ours, never in their place."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
PAPER_SCALES = ("0.8B", "2B", "4B", "9B")
AVERAGE = "Avg"


@functools.cache
def reference(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a reference file."""
    with (REFERENCE / f"{name}.csv").open(encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


@functools.cache
def published() -> dict[tuple[str, str, str, str], str]:
    """(scale, family, method, benchmark) -> accuracy as printed; Tables 4 and 18 too."""
    cells = {
        (r["scale"], r["family"], r["method"], r["benchmark"]): r["accuracy"]
        for r in reference("results")
    }
    for r in reference("averages"):
        cells.setdefault((r["scale"], r["family"], r["method"], AVERAGE), r["average"])
    return cells


@functools.cache
def gains_over_base() -> dict[tuple[str, str], float]:
    """(scale, family) -> points of ZPPO over its base, as Table 18 prints them."""
    return {
        (r["scale"], r["family"]): float(r["delta_vs_base"])
        for r in reference("averages")
        if r["delta_vs_base"]
    }


def numbers(figure: int, scale: str) -> list[dict[str, str]]:
    """The numbers that the paper gives for a figure at a scale (`graduation.csv`)."""
    key = (f"Fig. {figure}", scale)
    return [r for r in reference("graduation") if (r["figure"], r["scale"]) == key]


def scale_order(scale: str) -> tuple[int, str]:
    """Sort key: the paper's scales by size, then the others by name."""
    in_paper = scale in PAPER_SCALES
    return (PAPER_SCALES.index(scale) if in_paper else len(PAPER_SCALES), scale)
