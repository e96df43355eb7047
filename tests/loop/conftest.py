import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """`world` after its `steps`; for reading alone."""
    from story import tell

    world, steps = tell(tmp_path_factory.mktemp("story"))
    return SimpleNamespace(world=world, steps=steps)
