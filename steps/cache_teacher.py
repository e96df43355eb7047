"""The `cache_teacher` step: the teacher's visit-0 draws, made beforehand up to a budget."""

from __future__ import annotations

from zppo_core.run.draws import draw_beforehand
from zppo_core.run.spec import Artifact, Run


def cache_teacher(setup: Artifact) -> dict[str, object]:
    """Draws made, found and their tokens; see `draw_beforehand`."""
    return draw_beforehand(Run.of(setup))
