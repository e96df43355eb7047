"""A store on disk and one on a real S3 protocol server, for tests that must hold on both."""

from pathlib import Path

import pytest

from zppo_core.store.objects import LocalStore, open_store


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path: Path):
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return open_store(request.getfixturevalue("s3_url"))
