"""One recorded run for every card, and one browser for every page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from browser import CHROMIUM, Browser, browser
from record import KEY, RECORDING, SETS

from eval.report.database import ingest
from zppo_core.config import load
from zppo_core.run.spec import Run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small nano run that was recorded by `record.py`, its journal and a database of it."""
    folder = tmp_path_factory.mktemp("recorded")
    journal = folder / "runs" / KEY / "journal"
    shutil.unpack_archive(RECORDING, journal)  # ours; Python 3.11.2 has no filters yet
    sets = [f"{name}={value}" for name, value in SETS.items()]
    run = Run(
        KEY,
        load("nano", sets),
        "2026-11-27T04:00:00",
        str(folder / "runs"),
        str(folder / "cache"),
        str(folder / "zppo.duckdb"),
        int(SETS["run.rollout_steps"]),
    )
    ingest(run.journal, run.key, run.database)
    return run


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless browser; the test is skipped where the machine has none."""
    if not CHROMIUM:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with browser() as started:
        yield started
