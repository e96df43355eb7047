"""Quick starts of a flow's tasks and of workers: their seconds go into importing libraries."""

from __future__ import annotations

import atexit
import gc


def hurry() -> None:
    """Look for garbage less often, and not at all on the way out; call before long imports.

    Importing transformers makes some 200,000 objects that stay: Python's collector goes over them
    again and again, and once more at the end. Without it `import steps.world` as a process takes
    4.2 s where it took 6.4 s.
    """
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
