"""One Ray for all tests of this room, and ranks that live from one test to the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ranks
import ray


@pytest.fixture(scope="session", autouse=True)
def ended() -> Iterator[None]:
    """What `ranks` has started ends with the session."""
    yield
    ranks.end()
    ray.shutdown()
