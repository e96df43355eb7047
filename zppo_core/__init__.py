"""The method of ZPPO (arXiv 2606.18216), without Metaflow: algorithm, engines, trainer, store.

Public names are loaded when they are first used, so that an import costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zppo_core.rewards.answers import AnswerSpec as AnswerSpec
    from zppo_core.rewards.grader import grade as grade
    from zppo_core.rewards.where import extract_boxed as extract_boxed
    from zppo_core.types import Grade as Grade

# Metaflow packs only the flow's own folder unless a package asks to travel to remote tasks.
METAFLOW_PACKAGE_POLICY = "include"

_HOMES = {
    "AnswerSpec": "zppo_core.rewards.answers",
    "Grade": "zppo_core.types",
    "extract_boxed": "zppo_core.rewards.where",
    "grade": "zppo_core.rewards.grader",
}


def __getattr__(name: str) -> Any:
    """A public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
