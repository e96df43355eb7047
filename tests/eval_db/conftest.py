"""One simulated database for all tests that only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import build


@pytest.fixture(scope="session")
def database_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("database") / "synthetic.duckdb")
