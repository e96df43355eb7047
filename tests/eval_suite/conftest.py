"""lmms-eval's scorers, which ours are compared with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def lmms() -> Callable[[str], ModuleType]:
    """A module of lmms-eval by its name within the package.

    It is installed without what it requires (`make setup`): it asks for an older PyAV and for a
    second stack of models, and its scorers need neither.
    """

    def module(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            # some make a client of an API when they are imported
            patch.setenv("OPENAI_API_KEY", "none: nothing is asked")
            return importlib.import_module(f"lmms_eval.{name}")

    return module
