"""Quick starts of a flow's tasks and of workers: their seconds go into importing libraries."""

from __future__ import annotations

import atexit
import gc


def hurry() -> None:
    """Look for garbage less often, and not at all on the way out; call before long imports.

    What an import makes stays: Python's collector goes over it again and again, and once more at
    the end.
    """
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
