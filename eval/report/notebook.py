"""What the notebooks share: rows as a frame, a figure of the paper under its cell."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval.report.connection import DEFAULT_DATABASE, open_database
from eval.report.figures import panels_of
from eval.report.plot import Panel, draw
from eval.report.rows import Setting, records, typed
from eval.report.selection import Results
from eval.report.summary import find_run
from zppo_core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Shown:
    """A picture that a notebook shows as its cell's value."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


def root() -> Path:
    """The repository's root, whether the kernel was started there or in notebooks/."""
    here = Path.cwd()
    above = here.name == "notebooks" and (here.parent / "pyproject.toml").is_file()
    return here.parent if above else here


def located() -> str:
    """The database: what ZPPO_DATABASE names, or that of the root; UserError if it is not there."""
    path = os.environ.get("ZPPO_DATABASE") or str(root() / DEFAULT_DATABASE)
    if not Path(path).is_file():
        raise UserError(f"no database at {path}; run `make run`, or set ZPPO_DATABASE to one")
    return path


def frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows as a frame; columns that hold nothing are left out, numbers rounded to two places."""
    import pandas as pd

    return pd.DataFrame(list(rows)).dropna(axis="columns", how="all").round(2)


def drawn(panels: Sequence[Panel]) -> Shown:
    """The panels as a picture."""
    import matplotlib.pyplot as plt

    picture = draw(panels)
    buffer = io.BytesIO()
    picture.savefig(buffer, dpi=100)
    plt.close(picture)
    return Shown(buffer.getvalue())


def show(database: str, number: int, run: str | None = None) -> Shown:
    """Figure `number` of the paper, for the configuration and scale of `run` (or the latest)."""
    with open_database(database) as connection:
        key = find_run(connection, run)["run_key"]
        (place,) = typed(
            Setting, records(connection, "SELECT * FROM run_settings WHERE run_key = ?", [key])
        )
        results = Results(connection, place["variant"])
        return drawn(panels_of(results, number, [place["scale"]]))
