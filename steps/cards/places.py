"""Where everything of a run lies, and the commands that look at it."""

from __future__ import annotations

import socket

from zppo_core.run.spec import Run


def places(run: Run) -> dict[str, str]:
    """Of a run in progress."""
    return {
        "host": socket.gethostname(),
        "store": f"{run.store_url}/{run.key}",
        "database": run.database,
        "transcripts": f"zppo show {run.key} --database {run.database}",
        "summary": f"zppo tables summary --run {run.key} --database {run.database}",
        "live cards": "zppo cards server",
    }


def next_steps(run: Run) -> dict[str, str]:
    """Of a run that is done: what one does with its student."""
    trained = f"{run.store_url}/{run.key}"
    return places(run) | {
        "take the student out": f"zppo export --checkpoint {trained} --to models/student",
        "against another run": f"zppo compare {run.key} OTHER --database {run.database}",
        "cost": f"zppo cost --run {run.key} --database {run.database}",
        "figures": f"zppo figures --figure 22 --database {run.database}",
    }
