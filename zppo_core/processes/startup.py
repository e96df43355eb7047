"""Quick starts of a flow's tasks and of workers: their seconds go into importing libraries."""

from __future__ import annotations

import gc


def hurry() -> None:
    """Look for garbage less often; call before long imports.

    What an import makes stays: Python's collector goes over it again and again. At the end it is
    left to look once more: DuckDB's extension counts what it finds alive then as leaked, and says
    so in dozens of lines.
    """
    gc.set_threshold(50_000, 20, 20)
