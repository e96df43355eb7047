"""The steps of sweep_flow.py: a member's run of the ZPPO flow, and the sweep's page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from eval.report import evidence, zone
from zppo_core.run.setup import absolute
from zppo_core.run.sweep import (
    Member,
    Sweep,
    arguments,
    environment,
    identity,
    ledger,
    members,
    noted,
    result_file,
    write_note,
)

FLOW = (str(Path(__file__).resolve().parents[1] / "flows" / "zppo_flow.py"), "run")
PROCESS = ("-m", "steps.cli", "train")


def run_member(member: Member, folder: str) -> dict[str, str]:
    """Run the member unless it is done; its name, status and log.

    A failure is noted, not raised: the others go on, and the sweep says so at its end.
    """
    note, settings = ledger(member), identity(member)
    kept = result_file(member, folder)
    if noted(kept or note) == settings:
        return {"name": member.name, "status": "done before", "log": ""}
    note.parent.mkdir(parents=True, exist_ok=True)
    log = note.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.run(
            [sys.executable, *(FLOW if member.flows else PROCESS), *arguments(member, note)],
            cwd=folder,
            env=environment(os.environ),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if process.returncode:
        return {"name": member.name, "status": "failed", "log": str(log)}
    if kept is not None:
        zone.keep(absolute(member.settings.store.database), member.name, kept, settings)
    write_note(note, settings)
    return {"name": member.name, "status": "done", "log": str(log)}


def write_page(sweep: Sweep, folder: str) -> str:
    """Hold the sweep's results against the paper's claims, if its preset wants a page; its path."""
    if not sweep.page:
        return ""
    first = members(sweep)[0].settings
    path = Path(folder) / sweep.page
    evidence.write(absolute(first.store.database), sweep.name, path)
    return str(path)
